from __future__ import annotations

from pathlib import Path

import pytest
from swept_runs import write_point

from marco.errors import DataError
from marco.evaluation.ranking.runs import find_runs, is_sweep


def test_runs_stand_in_their_order_with_why_some_have_no_result(tmp_path: Path) -> None:
    sweep = tmp_path / "x-sweep"
    for number in (10, 2, 1, 0, 3, 5):
        values = {"eng": [1.0]} if number in (2, 10) else None
        write_point(sweep / str(number), ["seed=1"], values, {"seed": 1})
    (sweep / "multirun.yaml").write_text("")
    (sweep / "4" / "earlier-1").mkdir(parents=True)
    (sweep / "4" / "earlier-1" / "overrides.txt").write_text("seed=1\n")
    (sweep / "5" / "config.yaml").write_text("seed: [")
    dated = "2026-01-01 10:00:00,000"
    (sweep / "0" / "log.txt").write_text(
        f"{dated} ERROR marco: error: The loss is not a number.\nTraceback\n{dated} INFO x: bye\n"
    )
    (sweep / "1" / "pruned.json").write_text('{"tokens": 12000, "bits_per_byte": 3.1}')
    (sweep / "3" / "failed.txt").write_text("a process of it was ended\n")
    found = {run.name: run.problem for run in find_runs([sweep])}
    assert list(found) == ["0", "1", "2", "3", "4", "5", "10"]
    assert found["0"] == "failed: The loss is not a number."
    assert found["1"] == "pruned after 12,000 tokens"
    assert found["3"] == "failed: a process of it was ended"
    assert found["4"] == "it ended before it began: no config.yaml"
    assert "cannot be read" in str(found["5"])
    assert found["2"] is found["10"] is None
    assert is_sweep(sweep)
    (sweep / "0" / "log.txt").unlink()
    assert find_runs([sweep / "0"])[0].problem == "not finished"


def test_sweeps_and_runs_of_several_folders(tmp_path: Path) -> None:
    for name in ("a/1-sweep/0", "a/1-sweep/1", "a/2", "b/3"):
        write_point(tmp_path / name, [], {"eng": [1.0]}, {"seed": 1})
    (tmp_path / "last").symlink_to(tmp_path / "b" / "3")
    assert [run.name for run in find_runs([tmp_path])] == [
        "a/1-sweep/0",
        "a/1-sweep/1",
        "a/2",
        "b/3",
    ]
    several = find_runs([tmp_path / "a" / "1-sweep", tmp_path / "b" / "3", tmp_path / "b"])
    assert [run.name for run in several] == ["1-sweep/0", "1-sweep/1", "3"]


def test_where_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a run nor a sweep"):
        find_runs([tmp_path])
    with pytest.raises(DataError, match="no such folder"):
        find_runs([tmp_path / "nowhere"])
