"""Reading what is compared: a run's folder, an evaluation's, or lm-eval's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from marco.errors import DataError
from marco.evaluation.compare.configs import flat
from marco.evaluation.compare.lm_eval import is_lm_eval, read_lm_eval
from marco.evaluation.compare.run import Run
from marco.evaluation.results.items import FILE_NAME as ITEMS
from marco.evaluation.results.items import read_items
from marco.evaluation.results.table import STEM, read_results
from marco.evaluation.rows import Row

EVALUATIONS = "evaluations"


def read(path: Path, step: int | None = None) -> Run:
    """Read a run, or one evaluation of a model.

    Args:
        path: a run's folder, an evaluation's folder (``results.parquet``), an lm-eval results or
            samples file, or a folder of these.
        step: which of a run's evaluations; the last one if None.

    Raises:
        DataError: it is none of these, a file is damaged, or the run has no such evaluation.
    """
    if not path.exists():
        raise DataError(f"{path}: there is no such run.")
    try:
        if is_lm_eval(path):
            return read_lm_eval(path)
        if (path / f"{STEM}.parquet").is_file():
            return _read_evaluation(path)
        if (path / "config.yaml").is_file():
            return _read_run(path, step)
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise DataError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    raise DataError(
        f"{path}: neither a run's folder (config.yaml), nor an evaluation's ({STEM}.parquet), nor "
        "lm-eval's results_….json or samples_….jsonl."
    )


def _read_run(folder: Path, step: int | None) -> Run:
    made = evaluations(folder)
    if step is not None and step not in made:
        has = ", ".join(map(str, sorted(made))) or "none"
        raise DataError(f"{folder} has no evaluation of step {step}: it has {has}.")
    chosen = made.get(max(made, default=-1) if step is None else step)
    evaluation = Run("", ()) if chosen is None else _read_evaluation(chosen)
    summary = folder / "summary.json"
    ledger: dict[str, Any] = {}
    if summary.is_file():
        ledger = json.loads(summary.read_text(encoding="utf-8"))["ledger"].get("languages", {})
    resolved = folder.resolve()
    return Run(
        name=f"{resolved.parent.name}/{resolved.name}",
        rows=evaluation.rows,
        items=evaluation.items,
        tokens=evaluation.tokens,
        config=read_config(folder),
        ledger=ledger,
        losses=_losses(folder / "metrics.jsonl"),
    )


def evaluations(folder: Path) -> dict[int, Path]:
    """Return {step: its folder} of a run's evaluations that were written whole."""
    return {
        int(place.name.removeprefix("step-")): place
        for place in (folder / EVALUATIONS).glob("step-*")
        if (place / f"{STEM}.parquet").is_file()
    }


def _read_evaluation(folder: Path) -> Run:
    records = read_results(folder)
    rows = [Row.from_dict(record) for record in records]
    of: dict[str, Any] = next(iter(records), {"run": "", "checkpoint": "", "tokens": None})
    return Run(
        name="/".join(part for part in (of["run"], of["checkpoint"]) if part) or folder.name,
        rows=rows,
        items=read_items(folder) if (folder / ITEMS).is_file() else (),
        tokens=of["tokens"],
        config=read_config(folder),
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Return {dotted key: value} of a run's config; empty where it has none."""
    path = folder / "config.yaml"
    return flat(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _losses(path: Path) -> list[tuple[int, float]]:
    """Training losses by tokens; the last line may be torn."""
    found: dict[int, float] = {}
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        loss = record.get("train/loss")
        if loss is not None and "tokens" in record:
            found[int(record["tokens"])] = float(loss)
    return sorted(found.items())
