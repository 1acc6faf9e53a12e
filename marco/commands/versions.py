"""Print the versions of marco, Python and the packages a run depends on."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

from marco import __version__

PACKAGES = (
    "torch",
    "triton",
    "transformers",
    "tokenizers",
    "safetensors",
    "pytorch-lightning",
    "hydra-core",
    "omegaconf",
    "pydantic",
    "numpy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "wandb",
)


def main(arguments: list[str]) -> int:
    """Print one package a line; what is missing says so."""
    argparse.ArgumentParser(prog="marco versions", description=__doc__).parse_args(arguments)
    for name, number in versions().items():
        print(f"{name:<18} {number}")
    return 0


def versions() -> dict[str, str]:
    """Return name → version, from the packages' metadata alone: nothing is imported."""
    found = {"marco": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
