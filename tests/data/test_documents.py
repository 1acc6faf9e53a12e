"""Documents and the corpus' fingerprint."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marco.data import Corpus, Document

DOCUMENT = Document("Habari ya dunia", "swh", "test", "1")
CORPUS = Corpus({"swh": [DOCUMENT]}, {"swh": []})


@pytest.mark.parametrize(
    "change",
    [
        {"text": "Habari"},
        {"language": "yor"},
        {"source": "udhr"},
        {"id": "2"},
        {"parallel_id": ""},
        {"parallel_id": "article-1"},
    ],
)
def test_fingerprint_sees_every_field(change: dict[str, str]) -> None:
    changed = Corpus({"swh": [replace(DOCUMENT, **change)]}, {"swh": []})
    assert changed.fingerprint() != CORPUS.fingerprint()


def test_fingerprint_sees_the_split_but_not_the_notes() -> None:
    assert Corpus({"swh": []}, {"swh": [DOCUMENT]}).fingerprint() != CORPUS.fingerprint()
    assert Corpus(CORPUS.train, CORPUS.held_out, ["n"]).fingerprint() == CORPUS.fingerprint()


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=2, max_size=4))
def test_fingerprint_does_not_run_fields_together(parts: list[str]) -> None:
    apart = [Document(part, "swh", "s", "i") for part in parts]
    joined = [Document("".join(parts), "swh", "s", "i")]
    assert Corpus({"swh": apart}, {}).fingerprint() != Corpus({"swh": joined}, {}).fingerprint()
    assert Corpus({"swh": apart}, {}).fingerprint() == Corpus({"swh": [*apart]}, {}).fingerprint()
