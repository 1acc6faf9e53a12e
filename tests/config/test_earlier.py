from __future__ import annotations

from pathlib import Path

import pytest

from marco.config import CHANGEABLE, Sources, compose, save_config
from marco.config.earlier import earlier, failures, set_aside
from marco.errors import ConfigError


@pytest.fixture
def run(tmp_path: Path, sources: Sources) -> Path:
    folder = tmp_path / "sweep" / "0"
    folder.mkdir(parents=True)
    cfg = compose(["seed=5"], sources=sources)
    save_config(cfg, ["seed=5"], folder, changeable=CHANGEABLE)
    return folder


def test_an_empty_folder_is_a_new_run(tmp_path: Path, sources: Sources) -> None:
    assert earlier(tmp_path, compose([], sources=sources)) == "new"


@pytest.mark.parametrize(
    ("left", "state"),
    [
        ([], "again"),
        (["failed.txt"], "again"),
        (["checkpoints/step-00000004/manifest.json"], "unfinished"),
        (["checkpoints/.step-00000004/manifest.json"], "again"),  # half written
        (["checkpoints/step-00000004/manifest.json", "failed.txt"], "again"),
        (["checkpoints/step-00000004/manifest.json", "summary.json"], "finished"),
        (["pruned.json"], "finished"),
    ],
)
def test_what_is_there_says_what_to_do(
    run: Path, sources: Sources, left: list[str], state: str
) -> None:
    for name in left:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{}")
    assert earlier(run, compose(["seed=5"], sources=sources)) == state


def test_another_config_is_refused_by_its_key(run: Path, sources: Sources) -> None:
    with pytest.raises(ConfigError, match=r"seed=5, not 6.*resume=.*sweep"):
        earlier(run, compose(["seed=6"], sources=sources))


def test_what_a_failed_run_left_is_kept(run: Path) -> None:
    (run / "failed.txt").write_text("the loss is nan\n")
    assert failures(run.parent) == {"0": "the loss is nan"}
    set_aside(run)
    (run / "log.txt").write_text("second")
    set_aside(run)
    assert sorted(path.name for path in run.iterdir()) == ["earlier-1", "earlier-2"]
    assert (run / "earlier-1" / "failed.txt").exists()
    assert (run / "earlier-2" / "log.txt").read_text() == "second"
    assert failures(run.parent) == {}


def test_failures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 9, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "failed.txt").write_text("x")
    assert list(failures(tmp_path)) == ["2", "9", "10"]
