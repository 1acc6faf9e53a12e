"""marco: configuration-driven, massively multilingual training of Qwen2-family language models."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("marco-train")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
