"""Reading a run from W&B's server: its config, its losses, the last table of its evaluations.

W&B has no items: values are compared by their standard errors, or by seeds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from marco.errors import DataError
from marco.evaluation.compare.configs import flat
from marco.evaluation.compare.run import Run
from marco.evaluation.rows import Row

#: The key under which a run logs its evaluations (`callbacks.eval_sweep`).
TABLE = "eval/table"
_PATH = re.compile(r"[\w.-]+/[\w.-]+/(?:runs/)?[\w.-]+")


def is_wandb(argument: str) -> bool:
    """Return whether an argument has the form of a run path, ``entity/project/id``."""
    return _PATH.fullmatch(argument) is not None


def read_wandb(path: str, api: Any = None) -> Run:
    """Read a run.

    Args:
        path: ``entity/project/id``.
        api: a ``wandb.Api``; None makes one, with the credentials that wandb finds.

    Raises:
        DataError: there is no such run, no key, or no network.
    """
    import wandb

    try:
        run = (api or wandb.Api()).run(path)
        summary = dict(run.summary)
        rows, tokens = _evaluation(run, summary.get(TABLE))
        return Run(
            name=f"{run.name} ({run.id})",
            rows=rows,
            tokens=tokens,
            config=flat(run.config),
            ledger=_ledger(summary),
            losses=sorted(
                (int(line["tokens"]), float(line["train/loss"]))
                for line in run.scan_history(keys=["tokens", "train/loss"])
                if line["train/loss"] is not None
            ),
        )
    except (wandb.Error, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: there is no such folder, and W&B gives no such run: {error}"
        ) from error


def _evaluation(run: Any, entry: Mapping[str, Any] | None) -> tuple[list[Row], int | None]:
    """The rows of the last evaluation, from the table that the run logged."""
    if entry is None:
        return [], None
    with TemporaryDirectory() as folder:
        run.file(entry["path"]).download(root=folder, replace=True)
        table = json.loads((Path(folder) / entry["path"]).read_text(encoding="utf-8"))
    records = [dict(zip(table["columns"], line, strict=True)) for line in table["data"]]
    last = max((int(record["step"]) for record in records), default=0)
    latest = [record for record in records if int(record["step"]) == last]
    tokens = int(latest[0]["tokens"]) if latest else None
    return [Row.from_dict(_without_nan(record)) for record in latest], tokens


def _without_nan(record: Mapping[str, Any]) -> dict[str, Any]:
    """A data frame has no empty numbers: what is none is NaN there, or its name in JSON."""
    return {
        key: None if value == "NaN" or value != value else value for key, value in record.items()
    }


def _ledger(summary: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for key, value in summary.items():
        for field in ("tokens", "epochs"):
            language = key.removeprefix(f"data/{field}/")
            if language != key and isinstance(value, int | float):
                found.setdefault(language, {})[field] = float(value)
    return found
