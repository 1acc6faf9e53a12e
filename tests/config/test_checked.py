from __future__ import annotations

from pathlib import Path

import pytest

from marco.config import CHANGEABLE, RunSettings, Sources, check_command_line, compose, save_config
from marco.config.children import job_arguments
from marco.errors import ConfigError


class Checks:
    """Collects what was checked; refuses the seed 13."""

    def __init__(self) -> None:
        self.seen: list[RunSettings] = []

    def __call__(self, run: RunSettings) -> None:
        self.seen.append(run)
        if run.seed == 13:
            raise ConfigError("seed=13 brings bad luck with this model.")


@pytest.fixture
def tree(sources: Sources) -> list[str]:
    return ["--config-path", str(sources.tree)]


def test_a_right_command_line_is_returned_as_it_is(tree: list[str]) -> None:
    checks = Checks()
    argv = [*tree, "seed=2"]
    assert check_command_line(argv, checks) == argv
    assert [run.seed for run in checks.seen] == [2]


def test_every_point_of_a_sweep_is_checked(tree: list[str]) -> None:
    checks = Checks()
    check_command_line([*tree, "-m", "seed=1,2", "mix=uniform,weights"], checks)
    assert [(run.seed, type(run.mix).__name__) for run in checks.seen] == [
        (1, "Uniform"),
        (1, "Weights"),
        (2, "Uniform"),
        (2, "Weights"),
    ]
    checks = Checks()
    check_command_line([*tree, "hydra.mode=MULTIRUN", "seed=1,2"], checks)
    assert len(checks.seen) == 2


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["optimzer.lr=1"], "optimizer.lr"),
        (["seed=1,2"], "add -m"),
        (["seed=13"], "bad luck"),
        (["-m", "seed=12,13"], "in run 2 of 2 (seed=13): seed=13 brings bad luck"),
        (["-m", "seed=1,x"], "in run 2 of 2 (seed=x): seed should be a whole number"),
        (["--frobnicate"], "unrecognized arguments: --frobnicate"),
        (["seed=1", "-m", "tokens=1"], "Put flags before the overrides"),
        (["--cfg", "everything"], "job"),
        (["--resolve"], "--resolve"),
        (["--run", "-m", "seed=1"], "exclude"),
        (["--config-dir", "/no/such"], "--config-dir"),
        (["--config-name", "trian"], "trian"),
        (["--help", "modell=tiny"], "'model'"),
        (["--cfg", "job", "model=tny"], "tiny"),
        (["resume=last"], "no run"),
        (["-m", "resume=last"], "leave -m away"),
    ],
)
def test_a_wrong_one_is_one_line_and_exit_code_2_and_no_folder(
    tree: list[str], capsys: pytest.CaptureFixture[str], argv: list[str], part: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        check_command_line([*tree, *argv], Checks())
    assert stop.value.code == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert part in shown.err
    assert shown.out == ""
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--cfg", "job", "data=files"],
        ["--info", "searchpath"],
        ["--cfg", "job", "--resolve", "tokens=wrong"],
        ["-sc", "query=bash"],
        ["--hydra-help"],
    ],
)
def test_showing_a_config_binds_nothing(tree: list[str], argv: list[str]) -> None:
    checks = Checks()
    assert check_command_line([*tree, *argv], checks) == [*tree, *argv]
    assert checks.seen == []


def test_resume_checks_the_saved_config_and_uses_its_folder(
    tree: list[str], sources: Sources
) -> None:
    folder = Path("runs/trial/it's one").absolute()
    (folder / "checkpoints" / "step-1").mkdir(parents=True)
    save_config(compose(["seed=5"], sources=sources), ["seed=5"], folder, changeable=CHANGEABLE)
    Path("runs/last").symlink_to(folder)
    checks = Checks()
    argv = check_command_line([*tree, "resume=last", "tokens=8192"], checks)
    assert [(run.seed, run.tokens) for run in checks.seen] == [(5, 8192)]
    assert argv[:3] == [*tree, "tokens=8192"]
    hydra = compose(argv[2:], sources=sources, with_hydra=True)
    assert hydra.resume == hydra.hydra.run.dir == str(folder)


def test_the_processes_of_a_job_run_that_job_alone(sources: Sources, tmp_path: Path) -> None:
    own = f"hydra.searchpath=[{tmp_path}]"
    overrides = [own, "hydra.mode=MULTIRUN", "seed=2", "hydra.sweep.dir=x"]
    cfg = compose(overrides, sources=sources, with_hydra=True)
    folder = tmp_path / "runs" / "a sweep's" / "0"
    cfg.hydra.runtime.output_dir = str(folder)
    argv = ["--config-path", str(sources.tree), "-m", own, "seed=1,2", "hydra.sweep.dir=x"]
    alone = job_arguments(argv, cfg.hydra)
    assert alone[:4] == ["--config-path", str(sources.tree), own, "seed=2"]
    child = compose(alone[2:], sources=sources, with_hydra=True)
    assert (child.seed, child.hydra.run.dir) == (2, str(folder))


def test_a_relative_config_path_starts_beside_train_py(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        check_command_line(["--config-path", "no_such_tree"], Checks())
    root = Path(__file__).resolve().parents[2]
    assert f"'{root / 'no_such_tree'}'" in capsys.readouterr().err
