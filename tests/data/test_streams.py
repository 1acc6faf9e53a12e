from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.data.documents import Document
from marco.data.streams import (
    TokenStream,
    WindowOrder,
    document_positions,
    tokenise,
    windows_per_epoch,
)
from marco.errors import DataError

END = 0


def stream(size: int) -> TokenStream:
    """Tokens 1, 2, … with a document start in front and every seventh place."""
    tokens = np.arange(size, dtype=np.int32)
    tokens[::7] = END
    return TokenStream("swh", tokens, END, -(-size // 7), size)


class Letters:
    """A tokenizer whose tokens are code points."""

    name = "letters"
    end_of_text = END
    fingerprint = "letters"

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in texts]


def test_documents_open_with_end_of_text() -> None:
    documents = [Document(text, "swh", "s", str(n)) for n, text in enumerate(["ab", "c", "ñ"])]
    found = tokenise("swh", documents, Letters())  # type: ignore[arg-type]
    assert found.tokens.tolist() == [END, 97, 98, END, 99, END, 241]
    assert (found.documents, found.text_bytes) == (3, 5)


def test_no_text_is_an_error_that_names_the_language() -> None:
    with pytest.raises(DataError, match="'swh'"):
        tokenise("swh", [], Letters())  # type: ignore[arg-type]


def test_positions_restart_at_documents() -> None:
    ids = np.array([5, 6, END, 7, 8, END, END, 9])
    assert document_positions(ids, END).tolist() == [0, 1, 0, 1, 2, 0, 0, 1]


def test_labels_are_the_next_tokens_across_documents_and_the_end() -> None:
    order = WindowOrder(stream(10), 4, seed=0)
    circle = stream(10).tokens.tolist()
    for draw in range(9):
        window = order.window(draw)
        start = order.window_index(draw) * 4
        assert window.input_ids.tolist() == [circle[(start + k) % 10] for k in range(4)]
        assert window.labels.tolist() == [circle[(start + k + 1) % 10] for k in range(4)]


@given(size=st.integers(1, 60), length=st.integers(1, 20), seed=st.integers(0, 5))
def test_every_epoch_serves_each_of_its_windows_once(size: int, length: int, seed: int) -> None:
    source = stream(size)
    order = WindowOrder(source, length, seed)
    count = windows_per_epoch(source, length)
    assert (count - 1) * length < size <= count * length
    for epoch in range(3):
        drawn = [order.window_index(epoch * count + place) for place in range(count)]
        assert sorted(drawn) == list(range(epoch * count, (epoch + 1) * count))


@given(size=st.integers(1, 40), length=st.integers(1, 12))
def test_tokens_are_served_evenly(size: int, length: int) -> None:
    """After e whole epochs every token was served floor or ceil of windows · length / size."""
    source = TokenStream("swh", np.arange(1, size + 1, dtype=np.int32), END, 1, size)
    order = WindowOrder(source, length, seed=1)
    draws = 3 * windows_per_epoch(source, length)
    served = np.zeros(size + 1, int)
    for draw in range(draws):
        np.add.at(served, order.window(draw).input_ids, 1)
    assert served.sum() == draws * length
    assert served[1:].max() - served[1:].min() <= 1


def test_order_depends_on_seed_language_and_epoch() -> None:
    source = stream(400)
    other = TokenStream("yor", source.tokens, END, 1, 400)
    n = windows_per_epoch(source, 4)

    def drawn(order: WindowOrder, epoch: int = 0) -> list[int]:
        return [order.window_index(epoch * n + place) - epoch * n for place in range(n)]

    first = drawn(WindowOrder(source, 4, seed=1))
    assert first == drawn(WindowOrder(source, 4, seed=1))
    assert first != drawn(WindowOrder(source, 4, seed=2))
    assert first != drawn(WindowOrder(other, 4, seed=1))
    assert first != drawn(WindowOrder(source, 4, seed=1), epoch=1)
