from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path

import pytest

import marco
from marco.tracking.environment import git_commit, package_versions


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True)


def test_commit_of_the_working_directory_when_marco_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "repository"
    installed = repository / ".venv" / "site-packages" / "marco" / "__init__.py"
    installed.parent.mkdir(parents=True)
    monkeypatch.setattr(marco, "__file__", str(installed))
    assert git_commit(tmp_path) is None
    git(repository, "init", "--quiet")
    (repository / "train.txt").write_text("a")
    git(repository, "add", "train.txt")
    git(repository, "commit", "--quiet", "-m", "first")
    git(repository, "tag", "-a", "v1", "-m", "a tag is no commit hash")
    clean = git_commit(repository)
    assert clean is not None
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (repository / "train.txt").write_text("b")
    assert git_commit(repository) == f"{clean}-dirty"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(repository) is None


def test_versions() -> None:
    versions = package_versions(["torch", "no-such-package"])
    assert versions["python"] == platform.python_version()
    assert versions["marco"] == marco.__version__
    assert versions["torch"].startswith("2.")
    assert "no-such-package" not in versions
