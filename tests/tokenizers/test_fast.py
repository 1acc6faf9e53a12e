"""The fast engine gives the ids that `tokenizers` gives, for every text, or leaves it alone."""

from __future__ import annotations

import json
import lzma
import pickle
import sys
import unicodedata
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as Backend

from marco.tokenizers import END_OF_TEXT, Tokenizer
from marco.tokenizers.bpe import SPLIT_PATTERN, add_special_tokens, byte_level_bpe
from marco.tokenizers.characters import unsure
from marco.tokenizers.fast import FastEncoder, fast_encoder

PIECES = st.sampled_from(
    ["'s", "'Re", "don't", " ", "  \n", "\r\n", "\t", "1234", "...!?", "a\u0301", "\u1e9b\u0323",
     "\u0958", "\u200d", "日本", "ไทย", "שָׁלוֹם", "العربية", "😀", "𝕏", END_OF_TEXT, "<|im_start|>",
     "\u017f", "\u212a", "\u0898", "\u0cf3", "\x00", "\ufeff", "\xa0", "\u2028"]
)  # fmt: skip


def texts() -> list[str]:
    packed = files("marco").joinpath("assets/udhr.jsonl.xz").read_bytes()
    rows = [json.loads(line) for line in lzma.decompress(packed).splitlines()]
    return ["\n".join("\n".join(a) for a in row["articles"].values()) for row in rows]


@pytest.mark.parametrize("which", ["qwen2", "embedded"])
def test_every_declaration_has_the_same_ids(which: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(which)
    declarations = texts()
    assert len(declarations) == 520
    found = tokenizer.encode_documents(declarations)
    assert all(ids.dtype == np.int32 for ids in found)
    assert [ids.tolist() for ids in found] == tokenizer.encode_batch(declarations)
    engine = tokenizer._fast_encoder()
    assert engine is not None
    assert all(engine.encode(text) is not None for text in declarations)


# Half a surrogate pair is no text: readers refuse it, and `tokenizers` takes none.
ANY = st.characters(exclude_categories=["Cs"])


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES | st.text(max_size=5) | ANY, max_size=12).map("".join))
def test_any_text_has_the_same_ids(qwen2: Tokenizer, embedded: Tokenizer, text: str) -> None:
    for tokenizer in (qwen2, embedded):
        assert tokenizer.encode_documents([text])[0].tolist() == tokenizer.encode(text)


def test_every_character_has_the_same_ids(embedded: Tokenizer) -> None:
    """Each in the middle of a word, after a mark, and before one."""
    assigned = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c)[0] != "C"]
    probes = [
        "".join(f"a{c}b \u0301{c}\u0334 1{c}'{c}\n" for c in assigned[start : start + 64])
        for start in range(0, len(assigned), 64)
    ]
    found = embedded.encode_documents(probes)
    assert [ids.tolist() for ids in found] == embedded.encode_batch(probes)


def test_special_tokens_in_text_stay_text(qwen2: Tokenizer) -> None:
    (ids,) = qwen2.encode_documents([f"a {END_OF_TEXT} b"])
    assert qwen2.end_of_text not in ids
    assert qwen2.decode(ids.tolist()) == f"a {END_OF_TEXT} b"


def test_what_the_libraries_know_differently_is_left_alone(qwen2: Tokenizer) -> None:
    engine = qwen2._fast_encoder()
    assert engine is not None
    text = f"a{chr(int(np.flatnonzero(unsure())[0]))}\u0334"
    assert engine.encode(text) is None
    assert qwen2.encode_documents([text])[0].tolist() == qwen2.encode(text)


def test_spaces_that_are_too_many_for_the_pattern(qwen2: Tokenizer) -> None:
    text = "a" + " " * 1_000_000 + "b"
    assert qwen2.encode_documents([text])[0].tolist() == qwen2.encode(text)


def test_no_texts(qwen2: Tokenizer) -> None:
    assert qwen2.encode_documents([]) == []
    assert qwen2.encode_documents([""])[0].tolist() == []


def test_a_pickled_tokenizer_encodes_the_same(embedded: Tokenizer) -> None:
    embedded.encode_documents(["x"])
    copy = pickle.loads(pickle.dumps(embedded))
    assert copy.encode_documents(["some text"])[0].tolist() == embedded.encode("some text")


def bpe(merges: list[tuple[str, str]], extra: tuple[str, ...] = ()) -> Backend:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = dict.fromkeys((*alphabet, *(left + right for left, right in merges), *extra))
    backend = byte_level_bpe({token: n for n, token in enumerate(tokens)}, merges)
    add_special_tokens(backend, [END_OF_TEXT])
    return backend


def test_ids_in_another_order_than_merges() -> None:
    merges = [("b", "c"), ("a", "bc"), ("x", "y")]
    content = json.loads(bpe(merges).to_str())
    vocabulary = content["model"]["vocab"]
    vocabulary["abc"], vocabulary["a"] = vocabulary["a"], vocabulary["abc"]
    tokenizer = Tokenizer(Backend.from_str(json.dumps(content)), "swapped")
    assert tokenizer._fast_encoder() is not None
    text = "abc abcbc xyabc aabcc"
    assert tokenizer.encode_documents([text])[0].tolist() == tokenizer.encode(text)


@pytest.mark.parametrize(
    "backend",
    [
        # "abc" is merged from "ab" + "c", but its bytes alone become "a" + "bc".
        bpe([("b", "c"), ("a", "b"), ("ab", "c")]),
        # Two merges make one token.
        bpe([("a", "b"), ("b", "c"), ("ab", "c"), ("a", "bc")]),
        # An entry that no merge makes.
        bpe([("a", "b")], extra=("zz",)),
    ],
)
def test_a_vocabulary_that_ranks_do_not_describe(backend: Backend) -> None:
    assert fast_encoder(backend.to_str()) is None
    tokenizer = Tokenizer(backend, "odd")
    text = "abc ab bc zz abcabc"
    assert tokenizer.encode_documents([text])[0].tolist() == tokenizer.encode(text)


def no_nfc(backend: Backend) -> None:
    backend.normalizer = None


def lower(backend: Backend) -> None:
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])


def other_split(backend: Backend) -> None:
    split = pre_tokenizers.Split(
        Regex(SPLIT_PATTERN.replace(r"\p{N}|", r"\p{N}{1,3}|")), "isolated"
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(False, True, False)]
    )


def no_split(backend: Backend) -> None:
    backend.pre_tokenizer = None


def dropout(backend: Backend) -> None:
    backend.model.dropout = 0.5


@pytest.mark.parametrize("change", [no_nfc, lower, other_split, no_split, dropout])
def test_another_pipeline_is_left_alone(change: object) -> None:
    backend = bpe([("a", "b")])
    assert fast_encoder(backend.to_str()) is not None
    change(backend)  # type: ignore[operator]
    assert fast_encoder(backend.to_str()) is None


def test_a_wordpiece_is_left_alone() -> None:
    backend = Backend(models.WordPiece({"a": 0, END_OF_TEXT: 1, "[UNK]": 2}))
    assert fast_encoder(backend.to_str()) is None


def test_an_added_token_that_is_not_special_is_found_in_text() -> None:
    backend = bpe([("a", "b")])
    backend.add_tokens([AddedToken("<tool>", special=False)])
    tokenizer = Tokenizer(backend, "tools")
    engine = tokenizer._fast_encoder()
    assert isinstance(engine, FastEncoder)
    assert engine.encode("ab <tool> ab") is None
    found = tokenizer.encode_documents(["ab <tool> ab", "ab"])
    assert [ids.tolist() for ids in found] == tokenizer.encode_batch(["ab <tool> ab", "ab"])
    assert backend.token_to_id("<tool>") in found[0]
