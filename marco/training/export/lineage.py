"""The runs that made a model, one after the other, and what each was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from marco.config import container, load_config
from marco.config.saved import OVERRIDES
from marco.data.ledger import FIELDS
from marco.errors import CheckpointError
from marco.evaluation.history import Evaluation, read_history
from marco.run_folder import CHECKPOINTS, run_of
from marco.training.checkpoint import checkpoints
from marco.training.checkpoints.manifest import read_manifest


@dataclass(frozen=True)
class Served:
    """What a run served of a language (or of a source of several): epochs None if not known."""

    tokens: int
    epochs: float | None


@dataclass(frozen=True)
class Stage:
    """One run of a model's path, up to the checkpoint that the next one started from.

    Attributes:
        place: the run's folder.
        name: ``<experiment>/<run>``.
        config: as it was resolved.
        overrides: its command line, without secrets.
        source: the folder or hub name that its weights are from; None: random weights.
        step: optimizer steps of the checkpoint.
        tokens: trained on by then.
        served: language or source → what was served of it.
    """

    place: Path
    name: str
    config: dict[str, Any]
    overrides: list[str]
    source: str | None
    step: int
    tokens: int
    served: dict[str, Served]
    history: list[Evaluation] = field(repr=False)


@dataclass(frozen=True)
class Lineage:
    """Where a model comes from.

    Attributes:
        origin: the folder or hub name that the first run started from; None: random weights.
        stages: in the order in which they were trained.
    """

    origin: str | None
    stages: tuple[Stage, ...]


def lineage_of(run: Path, checkpoint: Path) -> Lineage:
    """Follow a run back to where its weights came from.

    A run that it started from and that is not there any more is the origin, by its path.
    """
    stages: list[Stage] = []
    while True:
        stage = _stage(run, checkpoint)
        stages.insert(0, stage)
        source = stage.source
        before = None if source is None else run_of(source)
        if source is None or before is None or before in [each.place for each in stages]:
            return Lineage(source, tuple(stages))
        place = Path(source).expanduser().resolve()
        run, checkpoint = before, place if place != before else _last(before)


def _last(run: Path) -> Path:
    there = checkpoints(run / CHECKPOINTS)
    if not there:
        raise CheckpointError(f"{run}, which the model was trained on from, has no checkpoint.")
    return there[max(there)]


def _started_from(config: Mapping[str, Any]) -> str | None:
    model = config["model"]
    return model.get("path") if model.get("weights") == "pretrained" else None


def _stage(run: Path, checkpoint: Path) -> Stage:
    config = container(load_config(run))
    manifest = read_manifest(checkpoint)
    lines = run / OVERRIDES
    return Stage(
        run,
        f"{config['name']}/{run.name}",
        config,
        lines.read_text(encoding="utf-8").splitlines() if lines.is_file() else [],
        _started_from(config),
        manifest.step,
        manifest.tokens,
        _served(run, checkpoint, manifest.tokens),
        read_history(run),
    )


def _served(run: Path, checkpoint: Path, tokens: int) -> dict[str, Served]:
    """By language, of a run's end; by source, of a checkpoint before that."""
    file = run / "summary.json"
    summary = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    ledger = summary.get("ledger", {})
    if ledger and summary["train"]["tokens"] == tokens:
        rows = ledger["languages"]
        return {code: Served(row["tokens"], row["epochs"]) for code, row in rows.items()}
    sizes = {name: row["size"] for name, row in ledger.get("sources", {}).items()}
    progress = json.loads((checkpoint / "progress.json").read_text(encoding="utf-8"))
    counts = {name: row[FIELDS.index("tokens")] for name, row in progress["ledger"].items()}
    return {
        name: Served(count, count / sizes[name] if name in sizes else None)
        for name, count in counts.items()
    }
