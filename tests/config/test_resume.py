from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from marco.config import CHANGEABLE, Sources, bind_all, compose, load_resumed, save_config
from marco.config.resume import locate_run, resume_value
from marco.errors import CheckpointError, ConfigError, MarcoError


def run_folder(
    overrides: list[str], sources: Sources, name: str = "trial/first", checkpoint: bool = True
) -> Path:
    folder = Path("runs", name)
    folder.mkdir(parents=True)
    save_config(compose(overrides, sources=sources), overrides, folder, changeable=CHANGEABLE)
    if checkpoint:
        (folder / "checkpoints" / "step-10").mkdir(parents=True)
    return folder


def test_the_saved_config_wins(sources: Sources, tmp_path: Path) -> None:
    folder = run_folder(["model.hidden_size=128", "seed=7"], sources)
    (tmp_path / "tree" / "model" / "tiny.yaml").write_text(
        "_target_: toy_settings.Model\nhidden_size: 8\nlayers: 9\n"
    )
    resumed = load_resumed([f"resume={folder}"], sources=sources)
    run = bind_all(resumed.cfg)
    assert (run.model.hidden_size, run.model.layers, run.seed) == (128, 2, 7)
    assert resumed.folder == folder.absolute()
    assert run.resume == str(folder.absolute())


def test_what_is_saved_is_resolved(sources: Sources) -> None:
    folder = run_folder(["seed=7", "+logger.note=null"], sources)
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["schedule"]["tokens"] == saved["tokens"] == 4096
    assert (folder / "overrides.txt").read_text() == "seed=7\n+logger.note=null\n"
    written = yaml.safe_load((folder / "interpolations.yaml").read_text())
    assert written == {"schedule.tokens": "${tokens}", "trainer.processes": "${.devices}"}
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_new_budget_reaches_what_follows_it(sources: Sources) -> None:
    folder = run_folder([], sources)
    overrides = [f"resume={folder}", "tokens=8192", "trainer.devices=2"]
    cfg = load_resumed(overrides, sources=sources).cfg
    assert cfg.tokens == cfg.schedule.tokens == 8192
    assert cfg.trainer.devices == cfg.trainer.processes == 2


def test_a_budget_of_the_wrong_type_is_found_when_bound(sources: Sources) -> None:
    folder = run_folder([], sources)
    cfg = load_resumed([f"resume={folder}", "tokens=lots"], sources=sources).cfg
    with pytest.raises(ConfigError, match="tokens should be a whole number"):
        bind_all(cfg)


@pytest.mark.parametrize(
    "override",
    [
        "seed=2",
        "model=big",
        "model.layers=3",
        "name=other",
        "trainer.processes=2",
        "~tags",
        "+tokens=3",
        "~tokens",
        "experiment=swahili",
        "callbacks.progress.every=3",
        "+x=1",
    ],
)
def test_anything_else_is_refused_by_name(sources: Sources, override: str) -> None:
    folder = run_folder([], sources)
    key = override.lstrip("+~").partition("=")[0]
    with pytest.raises(ConfigError, match=f"'{key}' cannot change on resume.*tokens") as error:
        load_resumed([override, f"resume={folder}"], sources=sources)
    assert "logger" in str(error.value)


def test_the_logger_can_change(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder(["name=saved_name"], sources)
    run = bind_all(load_resumed([f"resume={folder}", "logger.mode=off"], sources=sources).cfg)
    assert (run.logger.mode, run.logger.project) == ("off", "saved_name")
    monkeypatch.setenv("TOY_API_KEY", "abcdefgh12345678")
    overrides = [f"resume={folder}", "logger=online", "logger.mode=later"]
    run = bind_all(load_resumed(overrides, sources=sources).cfg)
    assert (run.logger.mode, run.logger.project) == ("later", "saved_name")
    assert run.logger.api_key == "abcdefgh12345678"
    with pytest.raises(ConfigError, match=r"Did you mean 'logger\.mode'\?"):
        load_resumed([f"resume={folder}", "logger.mod=off"], sources=sources)
    with pytest.raises(ConfigError, match="offline, online"):
        load_resumed([f"resume={folder}", "logger=onlin"], sources=sources)


def test_secrets_are_not_saved_and_are_read_again(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_API_KEY", "abcdefgh12345678")
    folder = run_folder(["logger=online"], sources)
    text = "".join(path.read_text() for path in folder.iterdir() if path.is_file())
    assert "abcdefgh12345678" not in text
    monkeypatch.setenv("TOY_API_KEY", "another-secret-now")
    assert load_resumed([f"resume={folder}"], sources=sources).cfg.logger.api_key == (
        "another-secret-now"
    )
    given = run_folder(["logger.api_key=typed"], sources, name="trial/second")
    with pytest.raises(ConfigError, match=r"logger\.api_key is a secret.*logger\.api_key="):
        load_resumed([f"resume={given}"], sources=sources)
    again = load_resumed([f"resume={given}", "logger.api_key=typed"], sources=sources)
    assert again.cfg.logger.api_key == "typed"


def test_last_is_the_newest_run(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run in 'runs' yet"):
        load_resumed(["resume=last"], sources=sources)
    folder = run_folder([], sources)
    Path("runs/last").symlink_to("trial/first")
    assert load_resumed(["resume=last"], sources=sources).folder == folder.absolute()
    moved = tmp_path / "elsewhere"
    Path("runs").rename(moved)
    resumed = load_resumed(["resume=last", f"paths.runs={moved}"], sources=sources)
    assert resumed.folder == moved / "trial" / "first"


def test_a_folder_that_is_no_run_is_explained(sources: Sources) -> None:
    folder = run_folder([], sources, name="trial/2024-01-02", checkpoint=False)
    runs = Path("runs")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        locate_run(str(folder), runs)
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / ".writing").mkdir()
    with pytest.raises(CheckpointError, match="no checkpoint"):
        locate_run(str(folder), runs)
    (folder / "checkpoints" / "step-1").mkdir()
    assert locate_run("trial/2024-01-02", runs) == folder.absolute()
    with pytest.raises(CheckpointError, match="Did you mean 'trial/2024-01-02'"):
        locate_run("trial/2024-01-03", runs)
    with pytest.raises(CheckpointError, match=r"Did you mean 'runs/trial/2024-01-02'"):
        locate_run("runs/trial/2024-01-022", runs)
    with pytest.raises(CheckpointError, match=r"no config\.yaml.*2024-01-02"):
        locate_run("runs/trial", runs)


@pytest.mark.parametrize("damage", [b"a: [1", b"\xff\xfe\x00", b"- 1\n- 2\n", b""])
def test_a_damaged_config_is_one_error(sources: Sources, damage: bytes) -> None:
    folder = run_folder([], sources)
    (folder / "config.yaml").write_bytes(damage)
    with pytest.raises(MarcoError):
        bind_all(load_resumed([f"resume={folder}"], sources=sources).cfg)


def test_resume_is_one_run(sources: Sources) -> None:
    assert resume_value(["seed=1"]) is None
    assert resume_value(["resume=null"]) is None
    assert resume_value(["resume=a", "resume=b"]) == "b"
    with pytest.raises(ConfigError, match="one run folder"):
        resume_value(["resume=a,b"])
    folder = run_folder([], sources)
    with pytest.raises(ConfigError, match="sweep"):
        load_resumed([f"resume={folder}", "tokens=1,2"], sources=sources)
