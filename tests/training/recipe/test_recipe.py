from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from marco.config import Sources
from marco.errors import CheckpointError, ConfigError
from marco.training.recipe import Recipe, Step
from marco.training.recipe.command_line import run_recipe
from marco.training.recipe.commands import Command, commands, written
from marco.training.recipe.process import locked, run_step
from marco.training.recipe.request import parse_request
from marco.training.recipe.run import start
from marco.training.recipe.state import FILE, State, load_state, recipe_folder
from marco.training.recipe.summary import finish

RECIPE = """
# A recipe of the tests'.
_target_: marco.training.recipe.Recipe
steps:
  broad:
    overrides: [experiment=udhr_tiny, tokens=40_960]
  chat:
    overrides: [experiment=udhr_tiny, tokens=20_480, "tags=[made-from, '{broad}']"]
  measured:
    do: evaluate
    overrides: [evaluation=likelihood]
"""


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine" / "recipe").mkdir(parents=True)
    (tmp_path / "mine" / "recipe" / "own.yaml").write_text(RECIPE)
    return Sources(extra=tmp_path / "mine")


def arguments(sources: Sources, *overrides: str) -> dict[str, list[str]]:
    request = parse_request(["recipe=own", *overrides], sources)
    found = commands(request, Path("/r"), sources)
    return {command.name: list(command.arguments) for command in found}


def test_each_step_starts_from_the_one_before(sources: Sources) -> None:
    found = arguments(sources, "logger=none")
    assert found == {
        "broad": ["experiment=udhr_tiny", "tokens=40_960", "logger=none", "hydra.run.dir=/r/broad"],
        "chat": [
            "experiment=udhr_tiny",
            "tokens=20_480",
            "tags=[made-from, '/r/broad']",
            "logger=none",
            "model=pretrained",
            "model.path=/r/broad",
            "tokenizer=pretrained",
            "hydra.run.dir=/r/chat",
        ],
        "measured": [
            "evaluation=likelihood",
            "logger=none",
            "output=/r/measured",
            "model.path=/r/chat",
        ],
    }


def test_overrides_of_one_step_and_of_all(sources: Sources) -> None:
    found = arguments(
        sources, "seed=7", "chat.optimizer.lr=1e-4", "+chat.tags=[x]", "measured.devices=2"
    )
    assert "seed=7" in found["broad"]
    assert "seed=7" in found["chat"]
    assert "seed=7" not in found["measured"]
    assert "optimizer.lr=1e-4" not in found["broad"]
    assert {"optimizer.lr=1e-4", "+tags=[x]"} <= set(found["chat"])
    assert "devices=2" in found["measured"]


def test_all_steps_are_one_group_of_wandb(sources: Sources) -> None:
    found = arguments(sources)
    assert found["chat"][-3:-1] == ["logger.group=own", "logger.job_type=chat"]


def test_a_given_vocabulary_is_kept(sources: Sources) -> None:
    found = arguments(sources, "tokenizer=qwen2")
    assert "tokenizer=pretrained" not in found["chat"]


def test_beginning_in_the_middle(sources: Sources) -> None:
    found = arguments(sources, "recipe.from=chat", "recipe.model=/models/base")
    assert list(found) == ["chat", "measured"]
    assert "model.path=/models/base" in found["chat"]
    assert "model.path=/r/chat" in found["measured"]
    with pytest.raises(ConfigError, match=r"recipe\.from=chat needs the model it starts from"):
        arguments(sources, "recipe.from=chat")
    with pytest.raises(ConfigError, match=r"no step of recipe=own\. Did you mean 'chat'"):
        arguments(sources, "recipe.from=chap")
    with pytest.raises(ConfigError, match=r"recipe\.model is what recipe\.from starts from"):
        arguments(sources, "recipe.model=/models/base")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["chat.optimizer.rl=1"], r"in step chat of recipe=own: .*optimizer\.lr"),
        (["tokens=5"], r"in step broad of recipe=own: tokens=5 is less"),
        (["measured.devises=2"], "in step measured of recipe=own: .*devices"),
        (["+recipe.steps.chat.start=broat"], r"steps\.chat names 'broat'.*Did you mean 'broad'"),
    ],
)
def test_all_of_it_is_checked_before_anything_begins(
    sources: Sources, tmp_path: Path, overrides: list[str], message: str
) -> None:
    from marco.training.checks import check_run

    with pytest.raises(ConfigError, match=message):
        start(["recipe=own", "logger=none", *overrides], sources, check_run)
    assert not list((tmp_path / "runs").glob("own/*"))


def test_a_dry_run_prints_what_can_be_typed(
    sources: Sources, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["--config-dir", str(sources.extra), "recipe=own", "recipe.dry_run=true", "logger=none"]
    assert run_recipe(line, lambda run: None) == 0
    first, second, third = capfd.readouterr().out.splitlines()
    assert first.startswith("python train.py experiment=udhr_tiny tokens=40_960 ")
    assert "model=pretrained" in second
    assert third.startswith("marco evaluate ")
    assert not (tmp_path / "runs" / "own").exists()


def test_a_command_line_without_a_recipe_is_not_its_business(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for line in ([], ["tokens=1"], [f"resume={tmp_path / 'run'}"], ["resume=null"]):
        assert run_recipe(line, lambda run: None) is None


def test_a_step_that_goes_on_is_not_the_recipe(tmp_path: Path) -> None:
    step = Command("a", "train", (), tmp_path / "a")
    step.folder.mkdir()
    State(tmp_path, "own", [step]).save()
    tell = "import sys; from marco.training.recipe.command_line import run_recipe\n"
    tell += f"sys.exit(run_recipe(['resume={step.folder}'], print) is not None)"
    with locked(tmp_path) as lock:
        assert run_step([sys.executable, "-c", tell], lock) == 0


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({}, "at least one step"),
        ({"Stage 1": Step()}, "small letters"),
        ({"a": Step(start="b")}, "no step before it"),
        ({"a": Step(overrides=["model={b}"])}, "no step before it"),
        ({"a": Step(do="evaluate")}, "no model before it"),
        ({"a": Step(), "b": Step(do="evaluate"), "c": Step(start="b")}, "makes no model"),
    ],
)
def test_a_recipe_that_is_none(steps: dict[str, Step], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe(steps)


def test_an_evaluation_in_between_is_not_what_comes_next_starts_from() -> None:
    recipe = Recipe({"a": Step(), "b": Step(do="evaluate"), "c": Step(), "d": Step(start="a")})
    assert [recipe.source_of(name) for name in recipe.steps] == [None, "a", "a", "a"]


def test_state_comes_back(tmp_path: Path) -> None:
    run = Command("a", "train", ("tokens=1",), tmp_path / "a")
    other = Command("b", "evaluate", (), tmp_path / "b")
    state = State(tmp_path, "own", [run, other], {"a": 1.5})
    state.save()
    back = load_state(tmp_path)
    assert (back.recipe, back.commands, back.seconds) == ("own", [run, other], {"a": 1.5})
    assert not back.finished(run)  # its summary is missing
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "summary.json").write_text("{}")
    assert back.finished(run)
    assert not back.finished(other)
    assert recipe_folder(tmp_path / "a") == tmp_path.resolve()
    assert recipe_folder(tmp_path) == tmp_path.resolve()
    assert recipe_folder(tmp_path.parent) is None
    (tmp_path / FILE).write_text('{"recipe": 1}')
    with pytest.raises(CheckpointError, match="cannot be understood"):
        load_state(tmp_path)


def test_paths_are_quoted_where_hydra_needs_it() -> None:
    assert written(Path("/a/b-1.2")) == "/a/b-1.2"
    assert written(Path("/a b/c")) == "'/a b/c'"


def test_a_steps_exit_code(tmp_path: Path) -> None:
    with locked(tmp_path) as lock:
        assert run_step([sys.executable, "-c", "raise SystemExit(3)"], lock) == 3
        kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
        assert run_step([sys.executable, "-c", kill], lock) == 128 + signal.SIGKILL


SAVES = """
import signal, sys, time
from pathlib import Path
def save(*_):
    time.sleep(0.5)
    Path(sys.argv[1]).write_text("saved")
    raise SystemExit
signal.signal(signal.SIGTERM, save)
Path(sys.argv[1]).write_text("begun")
time.sleep(60)
"""
HOLDS = """
import sys
from pathlib import Path
from marco.training.recipe.process import locked, run_step
with locked(Path(sys.argv[1])) as lock:
    run_step([sys.executable, "-c", sys.argv[2], sys.argv[3]], lock)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_the_step_of_a_killed_recipe_saves_before_another_may_begin(tmp_path: Path) -> None:
    told = tmp_path / "told"
    recipe = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path), SAVES, str(told)])
    deadline = time.monotonic() + 60
    while not told.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(recipe.pid, signal.SIGKILL)
    recipe.wait()
    with locked(tmp_path):
        assert told.read_text() == "saved"


def test_the_end_has_the_ledger_of_all_steps(tmp_path: Path) -> None:
    runs = [Command(name, "train", (), tmp_path / name) for name in ("a", "b")]
    for run, tokens in zip(runs, (100, 50), strict=True):
        run.folder.mkdir()
        macro = {"bits_per_byte": {"before": 3.0, "after": 2.0, "reference_xz": None}}
        languages = {"swh": {"tokens": tokens}, run.name * 3: {"tokens": 1}}
        summary = {"macro": macro, "train": {"tokens": tokens + 1}, "languages": languages}
        (run.folder / "summary.json").write_text(json.dumps(summary))
    measured = Command("c", "evaluate", (), tmp_path / "c")
    table = finish(State(tmp_path, "own", [*runs, measured], {"a": 60.0, "b": 30.0}))
    assert [list(column.cells) for column in table.columns] == [
        ["a", "b", "c"],
        ["101", "51", "–"],
        ["3.000", "3.000", "–"],
        ["2.000", "2.000", "–"],
        ["1.0", "0.5", "–"],
    ]
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["ledger"]["tokens"] == {"swh": 150, "aaa": 1, "bbb": 1}
    assert found["steps"]["c"]["do"] == "evaluate"
