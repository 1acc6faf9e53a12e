"""What holds for every tokenizer."""

from __future__ import annotations

import json
import pickle
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.data import Corpus
from marco.errors import ConfigError, DataError
from marco.tokenizers import END_OF_TEXT, Tokenizer
from marco.tokenizers.tokenizer import CONFIG_FILE, TOKENIZER_FILE

SPELLED = f"a{END_OF_TEXT}b <|im_end|>"


@pytest.fixture(scope="session", params=["embedded", "qwen2"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Tokenizer)
    return found


@pytest.fixture(scope="session")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(tokenizer.name)
    tokenizer.save(path)
    return path


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_decode_gives_the_nfc_text_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == unicodedata.normalize("NFC", text)


def test_a_text_cannot_spell_a_special_token(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode(SPELLED)
    assert tokenizer.end_of_text not in ids
    assert max(ids) < tokenizer.end_of_text
    assert tokenizer.decode(ids) == SPELLED
    assert tokenizer.encode_batch([SPELLED]) == [ids]
    assert tokenizer.decode([tokenizer.end_of_text]) == END_OF_TEXT


def test_batch_equals_single(tokenizer: Tokenizer, corpus: Corpus) -> None:
    texts = [document.text for documents in corpus.held_out.values() for document in documents]
    assert tokenizer.encode_batch([*texts, ""]) == [*map(tokenizer.encode, texts), []]


def test_pickling_keeps_everything(tokenizer: Tokenizer) -> None:
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert (copy.name, copy.fingerprint, len(copy)) == (
        tokenizer.name,
        tokenizer.fingerprint,
        len(tokenizer),
    )
    assert copy.encode(SPELLED) == tokenizer.encode(SPELLED)


def test_saved_and_loaded_it_is_the_same(tokenizer: Tokenizer, folder: Path) -> None:
    loaded = Tokenizer.from_folder(folder)
    assert loaded.fingerprint == tokenizer.fingerprint
    assert loaded.end_of_text == tokenizer.end_of_text
    assert loaded.encode(SPELLED) == tokenizer.encode(SPELLED)
    assert {path.name for path in folder.iterdir()} == {TOKENIZER_FILE, CONFIG_FILE}


def test_transformers_loads_it_as_qwen2_with_the_same_ids(
    tokenizer: Tokenizer, folder: Path, corpus: Corpus
) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder)
    assert type(theirs).__name__ in ("Qwen2Tokenizer", "Qwen2TokenizerFast")
    assert theirs.is_fast
    assert len(theirs) == len(tokenizer)
    assert theirs.eos_token_id == theirs.pad_token_id == tokenizer.end_of_text
    for documents in corpus.held_out.values():
        for document in documents:
            assert theirs(document.text)["input_ids"] == tokenizer.encode(document.text)
    assert theirs(END_OF_TEXT)["input_ids"] == [tokenizer.end_of_text]


def test_the_length_is_the_highest_id_plus_one() -> None:
    import tokenizers
    from tokenizers import models

    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, END_OF_TEXT: 7}, unk_token="a"))
    assert len(Tokenizer(backend, "gaps")) == 8


def test_end_of_text_is_the_eos_token_where_there_is_no_other(tmp_path: Path) -> None:
    import tokenizers
    from tokenizers import models

    backend = tokenizers.Tokenizer(models.WordLevel({"a": 0, "</s>": 1}, unk_token="a"))
    backend.save(str(tmp_path / TOKENIZER_FILE))
    with pytest.raises(DataError, match="no end-of-text token"):
        Tokenizer.from_folder(tmp_path)
    for eos in ("</s>", {"content": "</s>"}):
        (tmp_path / CONFIG_FILE).write_text(json.dumps({"eos_token": eos}))
        assert Tokenizer.from_folder(tmp_path).end_of_text == 1


def test_damaged_and_missing_files(tmp_path: Path, embedded: Tokenizer) -> None:
    with pytest.raises(ConfigError, match=r"tokenizer\.json is missing"):
        Tokenizer.from_folder(tmp_path)
    embedded.save(tmp_path)
    (tmp_path / CONFIG_FILE).write_text("{")
    with pytest.raises(DataError, match=r"tokenizer_config\.json is not valid JSON"):
        Tokenizer.from_folder(tmp_path)
    whole = (tmp_path / TOKENIZER_FILE).read_text()
    (tmp_path / TOKENIZER_FILE).write_text(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"tokenizer\.json is not a tokenizer"):
        Tokenizer.from_folder(tmp_path)
