"""The measurement of tokenising: what it compares, and that it fails on other ids."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bench import tokenise
from marco.data import Corpus
from marco.tokenizers import Tokenizer
from marco.tokenizers.qwen2 import QwenTokenizer

TEXTS = ["habari ya dunia", "tabia njema " * 5]


@pytest.fixture(autouse=True)
def prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MARCO_CACHE", str(tmp_path))
    monkeypatch.setattr(tokenise, "declarations", lambda: TEXTS)
    monkeypatch.setattr(sys, "argv", ["tokenise", "--rounds", "1"])


def test_other_ids_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(self: Tokenizer, texts: Sequence[str]) -> list[np.ndarray]:
        found = [np.array(ids, np.int32) for ids in self.encode_batch(texts)]
        return [found[0], found[1][::-1]]

    monkeypatch.setattr(Tokenizer, "encode_documents", wrong)
    with pytest.raises(SystemExit, match="qwen2: the ids of 1 of 2 declarations differ"):
        tokenise.main()


def test_the_last_line_has_medians(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = {
        tokenise.OURS: [[1.0, 1.0], [3.0, 1.0], [2.0, 1.0]],
        tokenise.MAP: [[8.0, 4.0]],
        tokenise.BATCH: [[4.0, 4.0]],
    }
    monkeypatch.setattr(tokenise, "measure", lambda name, *_: seconds[name])
    tokenise.main()
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["ratio"] == 4.0
    assert line["ratio_of_processor_time"] == 4.0
    assert line["cores"] == 1


def test_all_contenders_give_the_same_ids(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = QwenTokenizer().load(Corpus({}, {})).encode_batch(TEXTS)
    rows = tokenise._pass(tokenise.MAP, 1, TEXTS)()
    assert rows["input_ids"] == expected
    batch = tokenise._pass(tokenise.BATCH, 1, TEXTS)()
    assert [encoding.ids for encoding in batch] == expected
