from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from marco.config import Sources, check_command_line
from marco.config.relaunch import relaunch, sweep_folder
from marco.config.sweep import plan_sweep, running_sweep
from marco.errors import ConfigError


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "it's one"
    folder.mkdir(parents=True)
    given = {"hydra": ["hydra.mode=MULTIRUN", "hydra.sweep.dir=old"], "task": ["seed=1,2"]}
    (folder / "multirun.yaml").write_text(yaml.safe_dump({"hydra": {"overrides": given}}))
    return folder


def test_a_sweep_is_found_by_its_path_or_below_the_runs(sweep: Path) -> None:
    named = ['resume="it\'s one"']
    assert sweep_folder(named, sweep.parent) == sweep
    assert sweep_folder([f'resume="{sweep}"'], Path("elsewhere")) == sweep
    assert sweep_folder(["resume=last"], sweep.parent) is None
    assert sweep_folder([], sweep.parent) is None


def test_its_own_command_line_comes_back_in_its_folder(sweep: Path) -> None:
    overrides = relaunch(sweep, ["resume=x", "hydra.launcher.n_jobs=1", "logger=none"])
    assert overrides[:3] == ["seed=1,2", "hydra.launcher.n_jobs=1", "logger=none"]
    assert running_sweep(overrides) == sweep


def test_what_is_given_anew_replaces_what_was_given(sweep: Path) -> None:
    saved = {"hydra": {"overrides": {"hydra": [], "task": ["seed=1,2", "logger=wandb"]}}}
    (sweep / "multirun.yaml").write_text(yaml.safe_dump(saved))
    assert relaunch(sweep, ["logger=none"])[:-1] == ["seed=1,2", "logger=none"]


@pytest.mark.parametrize("change", ["seed=3", "tokens=9", "logger=none,wandb"])
def test_its_runs_stay_what_they_were(sweep: Path, change: str) -> None:
    with pytest.raises(ConfigError, match="cannot change when a sweep goes on"):
        relaunch(sweep, ["resume=x", change])


def test_a_secret_has_to_be_given_again(sweep: Path) -> None:
    saved = {"hydra": {"overrides": {"hydra": [], "task": ["logger.api_key=<redacted>"]}}}
    (sweep / "multirun.yaml").write_text(yaml.safe_dump(saved))
    with pytest.raises(ConfigError, match=r"give it again, logger\.api_key"):
        relaunch(sweep, [])
    assert relaunch(sweep, ["logger.api_key=abc"])[0] == "logger.api_key=abc"


def test_the_folder_of_a_sweep_is_settled_beforehand(sources: Sources) -> None:
    argv = check_command_line(
        ["--config-path", str(sources.tree), "-m", "seed=1,2", "hydra.sweep.dir=a b"],
        lambda run: None,
    )
    assert running_sweep(argv) == Path("a b").absolute()
    assert running_sweep(["seed=1"]) is None
    assert running_sweep([]) is None


def test_a_missing_package_is_said(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    target = "hydra_plugins.marco_sweeps.ParallelLauncher"
    overrides = [f"hydra.launcher._target_={target}", "seed=1,2"]
    assert len(plan_sweep(overrides, sources=sources).points) == 2
    monkeypatch.setattr("marco.config.sweep.find_spec", lambda module: None)
    with pytest.raises(ConfigError, match=r"pip install 'marco-train\[sweep\]'"):
        plan_sweep(overrides, sources=sources)


def test_hydras_own_joblib_launcher_is_refused(sources: Sources) -> None:
    with pytest.raises(ConfigError, match="hydra/launcher=parallel"):
        plan_sweep(["hydra/launcher=joblib", "seed=1,2"], sources=sources)
