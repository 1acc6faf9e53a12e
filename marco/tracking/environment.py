"""What a run was made with: the commit of the code and the versions of the packages."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import marco

PACKAGES = (
    "hydra-core",
    "lm-eval",
    "numpy",
    "peft",
    "pytorch-lightning",
    "tokenizers",
    "torch",
    "transformers",
    "triton",
    "wandb",
)


def package_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return the versions of marco, Python and those of ``packages`` that are installed."""
    versions = {"marco": marco.__version__, "python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def git_commit(folder: Path | None = None) -> str | None:
    """Return the full commit hash, with ``-dirty`` when tracked files differ from it.

    Of the repository that holds marco's source, or, for an installed marco, of the one that
    ``folder`` (the working directory) is in. None where there is no repository, commit, or git.
    """
    source = Path(marco.__file__).resolve().parents[1]
    top = _git(source, "rev-parse", "--show-toplevel")
    # an environment inside somebody's repository is not marco's repository
    where = source if top is not None and Path(top).resolve() == source else folder or Path.cwd()
    return _git(where, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
