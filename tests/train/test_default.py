"""The default run, whole, against its bars; and the debug runs against theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import last, losses, train

from marco.languages import MARCO_LANGUAGES


@pytest.mark.soak
def test_default_run_meets_its_bars(tmp_path: Path) -> None:
    done = train(tmp_path, "logger=none", "evaluation.every_tokens=null", timeout=1200)
    assert done.returncode == 0, done.stderr
    summary = json.loads((last(tmp_path) / "summary.json").read_text())
    assert set(summary["languages"]) == set(MARCO_LANGUAGES)
    bits = summary["macro"]["bits_per_byte"]
    assert bits["reference_xz"] == pytest.approx(2.01, abs=0.01)
    assert bits["after"] < bits["reference_xz"]
    for language, entry in summary["languages"].items():
        assert entry["bits_per_byte"]["after"] < entry["bits_per_byte"]["before"], language


def test_four_articles_can_be_learnt_by_heart(tmp_path: Path) -> None:
    done = train(tmp_path, "debug=overfit", "logger=none")
    assert done.returncode == 0, done.stderr
    found = losses(last(tmp_path))
    assert found[max(found)][0] < 0.1


def test_profile_says_where_the_time_goes(tmp_path: Path) -> None:
    done = train(tmp_path, "debug=profile", "logger=none")
    assert done.returncode == 0, done.stderr
    tables = list((last(tmp_path) / "profile").glob("*.txt"))
    assert "aten::" in tables[0].read_text()
    assert list((last(tmp_path) / "profile").glob("*.json*"))
