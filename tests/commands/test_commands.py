from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from marco.commands import command_names, load, main, summary
from marco.commands.versions import PACKAGES, versions

ROOT = Path(__file__).resolve().parents[2]


def test_help_lists_every_command_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert {"languages", "smollm2", "versions"} <= set(command_names())
    for name in command_names():
        assert f"  {name}" in shown
        assert summary(name) in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_no_command_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: marco" in capsys.readouterr().out


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["langages"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("error: no command 'langages'. Did you mean 'languages'?")
    assert shown.out == ""


@pytest.mark.parametrize("name", command_names())
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"marco {name}" in capsys.readouterr().out
    assert callable(load(name).main)


def test_importing_the_commands_imports_nothing_heavy() -> None:
    code = (
        "import sys; from marco.commands import command_names, load; "
        "[load(name) for name in command_names()]; "
        "heavy = {'torch', 'transformers', 'pytorch_lightning', 'wandb', 'pandas', 'hydra'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert (done.stdout, done.stderr) == (b"[]\n", b"")


def test_languages_lists_and_filters(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["languages", "sw"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["code", "name", "script", "family", "group", "UDHR", "lexicon"]
    assert [row.split()[0] for row in rows] == ["swh"]
    assert rows[0].split()[-2:] == ["swh", "sw"]
    assert main(["languages", "niger-congo"]) == 0
    codes = [row.split()[0] for row in capsys.readouterr().out.splitlines()[1:]]
    assert {"swh", "yor"} <= set(codes)
    assert main(["languages", "english"]) == 0
    assert "eng" in capsys.readouterr().out
    assert main(["languages"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 29


def test_a_language_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["languages", "Swahilli"]) == 2
    assert "Did you mean 'Swahili'?" in capsys.readouterr().err


def test_versions_come_from_metadata(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["versions"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["torch"] == version("torch")
    assert lines["python"].startswith("3.")
    assert {"marco", *PACKAGES} <= set(lines)
    monkeypatch.setattr("marco.commands.versions.PACKAGES", ("no-such-package-here",))
    assert versions()["no-such-package-here"] == "not installed"


def test_a_closed_pipe_is_no_error() -> None:
    code = "import sys; from marco.commands import main; sys.exit(main(['languages']))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
