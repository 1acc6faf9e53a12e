"""A sweep's folder, made of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from compared_runs import write_run


def write_point(
    folder: Path,
    overrides: Sequence[str],
    values: Mapping[str, Sequence[float]] | None,
    config: Mapping[str, Any],
) -> Path:
    """Write a run of a sweep; without values one that did not finish."""
    if values is None:
        write_run(folder, {"eng": [0.0]}, config)
        (folder / "summary.json").unlink()
    else:
        write_run(folder, values, config)
    (folder / "overrides.txt").write_text("".join(f"{text}\n" for text in overrides))
    return folder
