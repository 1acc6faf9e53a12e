from __future__ import annotations

import lzma
import math
import random

import pytest

from marco.data.documents import Document
from marco.data.udhr import Udhr
from marco.evaluation.reference import xz_bits_per_byte, xz_reference
from marco.languages import MARCO_LANGUAGES

WORDS = ("all", "human", "beings", "are", "born", "free", "and", "equal")


def test_it_is_the_growth_of_the_compressed_training_text() -> None:
    draw = random.Random(0)
    train = " ".join(draw.choices(WORDS, k=400))
    held_out = " ".join(draw.choices(WORDS, k=50))

    def size(text: str) -> int:
        return len(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))

    expected = (size(f"{train}\n{held_out}") - size(train)) * 8 / len(held_out)
    assert xz_bits_per_byte(train, held_out) == pytest.approx(expected)


def test_what_was_read_before_costs_next_to_nothing() -> None:
    draw = random.Random(0)
    text = "".join(chr(draw.randrange(97, 123)) for _ in range(4000))
    cold, warm = xz_bits_per_byte("", text), xz_bits_per_byte(text, text)
    assert cold is not None
    assert warm is not None
    assert cold > 4.5
    assert warm < 0.1


def test_the_priming_text_is_its_end() -> None:
    draw = random.Random(0)
    near = "".join(chr(draw.randrange(97, 123)) for _ in range(1000))
    far = near + "0123456789" * 200
    assert (xz_bits_per_byte(far, near) or 9) < 0.5
    assert (xz_bits_per_byte(far, near, priming_bytes=1500) or 0) > 4


def test_no_held_out_text_has_no_reference() -> None:
    assert xz_bits_per_byte("abc", "") is None
    found = xz_reference({}, {"eng": [Document("abc", "eng", "t", "0")], "swh": []})
    assert list(found) == ["eng"]


def test_on_the_universal_declaration_it_is_the_published_number() -> None:
    corpus = Udhr(languages=list(MARCO_LANGUAGES)).load()
    found = xz_reference(corpus.train, corpus.held_out)
    assert len(found) == 29
    assert math.fsum(found.values()) / 29 == pytest.approx(2.0147, abs=0.002)
