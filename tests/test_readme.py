"""The README tells the truth: its commands run, and what it names is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support import train

from marco.commands import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line]
#: Makes any of the commands short. Given last, so that it wins.
SHORT = ["debug=fast", "tokens=1024", "logger=none", "evaluation=none"]


def arguments(line: str) -> list[str]:
    return line.removeprefix("python train.py ").split()


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("python train.py")])
def test_train_commands(line: str, tmp_path: Path) -> None:
    given = arguments(line)
    (tmp_path / "my_texts").mkdir()
    sentences = "\n\n".join(f"Sentensi ya {number}, kwa ajili ya jaribio." for number in range(99))
    (tmp_path / "my_texts" / "swh.txt").write_text(sentences)
    if any(word.startswith("resume=") for word in given):
        assert train(tmp_path, *SHORT).returncode == 0
        budget = [] if given == ["resume=last"] else ["tokens=2048"]
        done = train(tmp_path, *given, *budget)
    elif "--cfg" in given:
        done = train(tmp_path, *given)
    else:
        done = train(tmp_path, *given, *SHORT)
    assert done.returncode == 0, done.stderr


#: What makes a command on a run short.
FEW = {
    "evaluate": ["logger=none", "evaluation.languages=[eng]"],
    "generate": ["max_new_tokens=4"],
    "align": ["articles=1-5"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a run was made."""
    folder = tmp_path_factory.mktemp("run")
    done = train(folder, *SHORT[:-1], "callbacks.checkpoint.every_tokens=512")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("marco ")])
def test_marco_commands(
    line: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    command, *given = line.split()[1:]
    if any("runs/last" in word for word in given):
        monkeypatch.chdir(request.getfixturevalue("run"))
        given += FEW.get(command, [])
    assert main([command, *given]) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize("line", [c for c in COMMANDS if c.startswith("make ")])
def test_make_targets(line: str) -> None:
    shown = subprocess.run(
        ["make", "-n", *line.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ("train.py" if "train" in line else "pytest") in shown.stdout


def test_every_command_is_tested() -> None:
    assert len(COMMANDS) > 8
    assert all(line.startswith(("make ", "marco ", "python train.py")) for line in COMMANDS)


def test_named_options_and_files_are_there() -> None:
    for group, options in re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", README, flags=re.MULTILINE):
        folder = ROOT / "conf" / group
        for option in re.findall(r"`([a-z0-9_]+)`", options):
            assert (folder / f"{option}.yaml").is_file(), f"{group}={option}"
    for name in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (ROOT / name).is_file()
    for name in re.findall(r"^\| (.*) \| ", README, flags=re.MULTILINE):
        for path in re.findall(r"`((?:marco|callbacks|tests|bench|docs|conf)/[\w./]*)`", name):
            assert (ROOT / path).exists(), path


def test_options_are_complete() -> None:
    """Every group, and every option of the groups that are listed one by one, is in the table."""
    for folder in (ROOT / "conf").iterdir():
        if folder.is_dir() and folder.name != "hydra":
            assert f"`{folder.name}`" in README, folder.name
    for group in ("mix", "tokenizer", "data", "schedule", "trainer", "evaluation", "logger"):
        for path in (ROOT / "conf" / group).glob("*.yaml"):
            assert f"`{path.stem}`" in README, path
