from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from marco.evaluation.ranking.runs import SweepRun
from marco.evaluation.ranking.settings import command, settings_of


def run(folder: str, *overrides: str, problem: str | None = None, **config: Any) -> SweepRun:
    """A run whose config's keys have their dots written as two underscores."""
    flat = {key.replace("__", "."): value for key, value in config.items()}
    return SweepRun(Path(folder), folder, overrides, flat, problem)


def test_what_was_swept_a_choice_and_a_value() -> None:
    keys, settings = settings_of(
        [
            run("0", "tokens=9", "mix=uniform", "+optimizer.lr=1e-3", "seed=1", seed=1, mix__a=1,
                optimizer__lr=0.001, name="x"),
            run("1", "tokens=9", "mix=uniform", "+optimizer.lr=1e-3", "seed=2", seed=2, mix__a=1,
                optimizer__lr=0.001, name="y"),
            run("2", "tokens=9", "mix=natural", "+optimizer.lr=2e-3", "seed=1", seed=1, mix__b=1,
                optimizer__lr=0.002, name="x"),
        ]
    )  # fmt: skip
    assert keys == ["mix", "optimizer.lr"]
    assert [list(each.values) for each in settings] == [["uniform", "0.001"], ["natural", "0.002"]]
    assert [[each.name for each in setting.runs] for setting in settings] == [["0", "1"], ["2"]]


def test_an_override_that_says_the_default_is_none() -> None:
    keys, settings = settings_of(
        [run("0", seed=1, lr=0.1), run("1", "lr=0.1", seed=2, lr=0.1), run("2", "lr=1", lr=1)]
    )
    assert keys == ["lr"]
    assert [list(each.values) for each in settings] == [["0.1"], ["1"]]
    assert len(settings[0].runs) == 2


def test_what_overrides_do_not_tell_apart_the_config_does() -> None:
    keys, settings = settings_of(
        [
            run("0", "mix=a", seed=1, mix__x=1, same=1, data=1),
            run("1", "mix=a", seed=1, mix__x=1, same=1, data=2),
            run("2", "mix=b", seed=1, mix__x=2, same=1, data=1),
        ]
    )
    assert keys == ["mix", "data"]
    assert [list(each.values) for each in settings] == [["a", "1"], ["a", "2"], ["b", "1"]]


def test_of_two_runs_of_one_seed_the_later_one_counts() -> None:
    runs = [
        run("0", seed=1),
        run("1", seed=1),
        run("2", seed=2),
        run("3", seed=2, problem="failed"),
    ]
    _, (setting,) = settings_of(runs)
    assert [each.name for each in setting.runs] == ["1", "2"]
    assert [(each.name, each.problem) for each in setting.failed] == [
        ("0", "of the same setting and seed as 1, which is newer"),
        ("3", "failed"),
    ]


def test_the_command_is_for_a_shell_and_without_the_seed_that_was_averaged_over() -> None:
    overrides = ("name='a b'", "data.languages=[swh,yor]", "+tags=$HOME", "tokens=5", "seed=1")
    later = ("resume=last", "tokens=9")
    runs = [run("0", *overrides, *later, seed=1), run("1", *overrides, seed=2)]
    _, (setting,) = settings_of(runs)
    kept = ["name='a b'", "data.languages=[swh,yor]", "+tags=$HOME", "tokens=9"]
    assert shlex.split(command(setting)) == ["python", "train.py", *kept]
    _, (alone,) = settings_of(runs[:1])
    assert shlex.split(command(alone)) == ["python", "train.py", *kept, "seed=1"]
