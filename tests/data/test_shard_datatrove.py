"""What datatrove writes is read here as its own reader reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datatrove.data import Document
from datatrove.pipeline.tokens import DocumentTokenizer, DocumentTokenizerMerger
from datatrove.utils.dataset import DatatroveFolderDataset
from shard_files import EOT, word_tokenizer

from marco.data.fingerprint import stamp
from marco.data.shard_listing import list_shards
from marco.data.shard_store import ShardStore
from marco.data.shards import Shards
from marco.errors import DataError
from marco.tokenizers import END_OF_TEXT, Tokenizer


def write(folder: Path, tokenizer: Tokenizer, **options: Any) -> list[list[int]]:
    """Tokenise 300 documents of 0 to 24 words, and return them, each with its end of text."""
    random = np.random.default_rng(0)
    ids = [random.integers(10, len(tokenizer), random.integers(0, 25)).tolist() for _ in range(300)]
    documents = [
        Document(" ".join(f"w{token}" for token in tokens), str(number), metadata={})
        for number, tokens in enumerate(ids)
    ]
    tokenizer.save(folder / "tokenizer")
    settings = {"eos_token": END_OF_TEXT, "shuffle_documents": False, "batch_size": 50, **options}
    step = DocumentTokenizer(
        str(folder / "shards"), str(folder / "tokenizer" / "tokenizer.json"), **settings
    )
    for rank in range(3):
        step.run(iter(documents[100 * rank : 100 * (rank + 1)]), rank=rank, world_size=3)
    return [[*tokens, EOT] for tokens in ids]


def documents_of(store: ShardStore) -> list[list[int]]:
    ends = store.ends(0, store.documents).tolist()
    tokens = store.read(0, len(store)).tolist()
    return [tokens[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@pytest.mark.parametrize(("words", "token_bytes"), [(2**16, 2), (2**16 + 1, 4)])
def test_documents_and_windows(tmp_path: Path, words: int, token_bytes: int) -> None:
    tokenizer = word_tokenizer(words)
    documents = write(tmp_path, tokenizer)
    folder = tmp_path / "shards"
    assert stamp(folder, tokenizer) == 3
    store = Shards(path=str(folder)).open("swh", "swh", tokenizer).store
    assert isinstance(store, ShardStore)
    assert list_shards(str(folder), "here").token_bytes == token_bytes
    assert documents_of(store) == documents
    theirs = DatatroveFolderDataset(str(folder), seq_len=49, token_size=token_bytes)
    starts = np.cumsum([0, *list_shards(str(folder), "here").tokens])
    number = 0
    for shard, file in enumerate(theirs.files):
        for window in range(len(file)):
            start = int(starts[shard]) + 50 * window
            ours = store.read(start, start + 50).tolist()
            assert theirs[number]["input_ids"].tolist() == ours
            number += 1
    assert number == len(theirs) > 50


def test_shuffled_split_and_merged_shards_hold_the_same_documents(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    documents = write(tmp_path, tokenizer, shuffle_documents=True, max_tokens_per_file=400, seed=1)
    folder = tmp_path / "shards"
    stamp(folder, tokenizer)
    store = ShardStore(list_shards(str(folder), "here"), EOT, len(tokenizer))
    assert sorted(documents_of(store)) == sorted(documents)
    merged = tmp_path / "merged"
    DocumentTokenizerMerger(
        str(folder), str(merged), "swh", max_tokens_per_file=1500, seed=2, progress=False
    ).run()
    assert sorted(path.name for path in merged.glob("*.metadata"))[-1] == "swh.ds.metadata"
    store = ShardStore(list_shards(str(merged), "here"), EOT, len(tokenizer))
    assert sorted(documents_of(store)) == sorted(documents)


def test_loss_masks(tmp_path: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.save(tmp_path / "tokenizer")
    step = DocumentTokenizer(
        str(tmp_path / "shards"),
        str(tmp_path / "tokenizer" / "tokenizer.json"),
        eos_token=END_OF_TEXT,
        save_loss_metadata=True,
        shuffle_documents=False,
    )
    step.run(iter([Document("w1 w2 w3", "a", metadata={"no_loss_ranges": [(0, 3)]})]))
    store = ShardStore(list_shards(str(tmp_path / "shards"), "here"), EOT, 20)
    assert store.read(0, 4).tolist() == [1, 2, 3, EOT]
    found = store.mask(0, 4)
    assert found is not None
    assert found.tolist() == [False, True, True, True]


@pytest.mark.parametrize(
    "options", [{"eos_token": None}, {"shuffle_chunk_size": 16, "shuffle_documents": True}]
)
def test_shards_that_break_the_convention_are_refused(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    tokenizer = word_tokenizer()
    write(tmp_path, tokenizer, **options)
    with pytest.raises(DataError, match=r"not with the tokenizer's end-of-text, 9.*eos_token="):
        stamp(tmp_path / "shards", tokenizer)
