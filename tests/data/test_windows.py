"""One sequence: inputs one token before the targets, positions by document, counts."""

from __future__ import annotations

import numpy as np
from data.sources import END, counted

from marco.data.documents import Document
from marco.data.ledger import FIELDS
from marco.data.token_cache import tokenised
from marco.data.windows import IGNORED, document_positions, read_window

BYTES = np.full(200, 3)
BYTES[END] = 0


class Letters:
    """A tokenizer whose tokens are code points."""

    name = "letters"
    end_of_text = END
    fingerprint = "letters"

    def encode_batch(self, texts: list[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in texts]


def test_documents_close_with_end_of_text() -> None:
    documents = [Document(text, "swh", "s", str(n)) for n, text in enumerate(["ab", "c", "ñ"])]
    found = tokenised("swh", "swh", documents, "key", Letters())  # type: ignore[arg-type]
    assert found.store.read(0, 7).tolist() == [97, 98, END, 99, END, 241, END]
    assert found.store.ends(0, 3).tolist() == [3, 5, 7]
    assert (found.store.documents, found.text_bytes) == (3, 5)


def test_positions_restart_at_documents() -> None:
    ids = np.array([5, 6, END, 7, 8, END, END, 9])
    assert document_positions(ids, END).tolist() == [0, 1, 0, 1, 2, 0, 0, 1]


def test_a_window_in_the_middle() -> None:
    source = counted("swh", [4, 6])  # 1 2 3 END 5 6 7 8 9 END
    window = read_window(source, [(2, 8)], 6, BYTES)
    assert window.input_ids.tolist() == [2, 3, END, 5, 6, 7]
    assert window.labels.tolist() == [3, END, 5, 6, 7, 8]
    assert window.position_ids.tolist() == [0, 1, 0, 1, 2, 3]
    counts = dict(zip(FIELDS, window.counts.tolist(), strict=True))
    assert counts == {
        "tokens": 6,
        "target_tokens": 6,
        "documents": 1,
        "bytes": 15,
        "truncated_tokens": 2,
        "padding": 0,
    }


def test_a_window_over_the_end_of_the_circle() -> None:
    source = counted("swh", [4, 6])
    window = read_window(source, [(8, 10), (0, 3)], 5, BYTES)
    assert window.input_ids.tolist() == [8, 9, END, 1, 2]
    assert window.labels.tolist() == [9, END, 1, 2, 3]
    assert window.position_ids.tolist() == [0, 1, 0, 1, 2]


def test_pieces_are_apart_and_padding_is_ignored() -> None:
    source = counted("swh", [4, 6])
    window = read_window(source, [(6, 8), (0, 4)], 8, BYTES)
    assert window.input_ids.tolist() == [6, 7, END, 1, 2, 3, END, END]
    assert window.labels.tolist() == [7, 8, 1, 2, 3, END, IGNORED, IGNORED]
    assert window.position_ids.tolist() == [0, 1, 0, 1, 2, 3, 0, 1]
    counts = dict(zip(FIELDS, window.counts.tolist(), strict=True))
    assert (counts["tokens"], counts["padding"], counts["documents"]) == (6, 2, 1)
    assert counts["truncated_tokens"] == 2  # the first piece lacks its document's beginning


def test_a_loss_mask_survives() -> None:
    source = counted("swh", [4, 6], masked=[2, 3, 7])
    window = read_window(source, [(4, 10), (0, 4)], 12, BYTES)
    assert window.labels.tolist() == [
        5,
        6,
        IGNORED,
        8,
        9,
        END,
        1,
        IGNORED,
        IGNORED,
        END,
        -100,
        -100,
    ]
    counts = dict(zip(FIELDS, window.counts.tolist(), strict=True))
    assert (counts["tokens"], counts["target_tokens"]) == (10, 7)
