from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import OmegaConf

from marco.errors import ConfigError
from marco.sweeping.search import search
from marco.sweeping.study import NAME, prune, storage


class Launcher:
    """Makes a run's folder of every list of overrides; what is left there decides its end."""

    def __init__(self, sweep: Path, left: dict[int, str]) -> None:
        self.sweep, self.left, self.made = sweep, left, []

    def launch(self, job_overrides: list[list[str]], initial_job_idx: int) -> None:
        for number, overrides in enumerate(job_overrides, start=initial_job_idx):
            self.made.append((number, overrides))
            folder = self.sweep / str(number)
            folder.mkdir(exist_ok=True)
            name = self.left.get(number, "summary.json")
            value = float(overrides[0].partition("=")[2])
            text = json.dumps({"macro": {"bits_per_byte": {"after": value}}})
            if name:
                (folder / name).write_text(text)


def run(sweep: Path, left: dict[int, str], **settings: Any) -> Launcher:
    launcher = Launcher(sweep, left)
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep)}}})
    sampler = optuna.samplers.RandomSampler(seed=1)
    arguments = settings.pop("arguments", ["optimizer.lr=interval(0.1,0.9)", "seed=3"])
    search(launcher, config, arguments, sampler=sampler, batch=2, **settings)  # type: ignore
    return launcher


def states(sweep: Path) -> list[str]:
    study = optuna.load_study(study_name=NAME, storage=storage(sweep))
    return [trial.state.name for trial in study.get_trials()]


def test_a_search_goes_on_with_what_did_not_end(tmp_path: Path) -> None:
    first = run(tmp_path, {1: "failed.txt", 2: "pruned.json", 3: ""}, n_trials=4)
    assert [number for number, _ in first.made] == [0, 1, 2, 3]
    assert all(overrides[1] == "seed=3" for _, overrides in first.made)
    assert states(tmp_path) == ["COMPLETE", "FAIL", "PRUNED", "RUNNING"]
    second = run(tmp_path, {}, n_trials=6)
    assert [number for number, _ in second.made] == [3, 4, 5]
    assert second.made[0] == first.made[3]
    assert states(tmp_path) == ["COMPLETE", "FAIL", "PRUNED", "COMPLETE", "COMPLETE", "COMPLETE"]
    assert run(tmp_path, {}, n_trials=6).made == []
    best = json.loads((tmp_path / "optimization_results.yaml").read_text())
    values = {number: float(overrides[0].partition("=")[2]) for number, overrides in second.made}
    values[0] = float(first.made[0][1][0].partition("=")[2])
    assert best["best_run"] == min(values, key=values.__getitem__)
    assert best["best_value"] == min(values.values())


def test_nothing_to_search_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="interval"):
        run(tmp_path, {}, n_trials=2, arguments=["seed=3"])


def test_the_median_decides(tmp_path: Path) -> None:
    study = optuna.create_study(study_name=NAME, storage=storage(tmp_path))
    for end in (1.0, 2.0, 3.0):
        trial = study.ask()
        trial.report(end, step=100)
        study.tell(trial, end)
    worse, better, few = study.ask(), study.ask(), study.ask()
    assert prune(tmp_path / str(worse.number), 100, 2.1, after_trials=3, after_tokens=0)
    assert not prune(tmp_path / str(better.number), 100, 1.9, after_trials=3, after_tokens=0)
    assert not prune(tmp_path / str(few.number), 100, 9.0, after_trials=4, after_tokens=0)
    assert not prune(tmp_path / str(few.number), 100, 9.0, after_trials=3, after_tokens=200)
