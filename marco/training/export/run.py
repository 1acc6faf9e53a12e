"""The whole export: everything is checked, then written into a folder that appears at the end."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from marco.errors import ConfigError
from marco.evaluation.results.aggregates import Aggregate
from marco.evaluation.rows import Row
from marco.models.settings import looks_local
from marco.models.tensors.config import write_config
from marco.models.tensors.folder import appearing, check_new
from marco.models.tensors.weights import Weights
from marco.models.tensors.writing import Layout, shards, write
from marco.training.beside import GENERATION, copy_beside
from marco.training.export.card import Card
from marco.training.export.hub import check_token, push
from marco.training.export.lineage import Lineage, lineage_of
from marco.training.export.scores import read_scores
from marco.training.merging import RECORD
from marco.training.stored import StoredModel, find_model

if TYPE_CHECKING:
    from marco.config.export import ExportSettings


@dataclass(frozen=True)
class Export:
    """A model that was found and checked, and what will be said of it."""

    settings: ExportSettings
    model: StoredModel
    output: Path
    layout: dict[str, Layout]
    files: dict[str, list[str]]
    lineage: Lineage | None
    scores: tuple[list[Row], list[Aggregate]]

    def write(self) -> str | None:
        """Write the folder, and push it where that was asked for: then return its URL."""
        first = next(iter(self.layout.values()))
        with appearing(self.output) as folder:
            write(
                folder, self.layout, self.files, partial(_pieces, self.model.weights, first.dtype)
            )
            copy_beside(self.model, folder)
            _like_origin(self.lineage, folder)
            write_config(self.model.config, first.dtype, folder)
            (folder / "README.md").write_text(self.card().text(), encoding="utf-8")
        if self.settings.push_to_hub is None:
            return None
        return push(self.output, self.settings.push_to_hub, private=self.settings.private)

    def card(self) -> Card:
        """Return the model card."""
        merged = Path(self.model.path).expanduser() / RECORD
        rows, aggregates = self.scores
        return Card(
            title=self.output.resolve().name,
            architecture=self.model.config.model_type.capitalize(),
            parameters=sum(prod(each.shape) for each in self.layout.values()),
            lineage=self.lineage,
            merged=json.loads(merged.read_text(encoding="utf-8")) if merged.is_file() else None,
            rows=rows,
            aggregates=aggregates,
            anchors=self.settings.anchors,
            command=self._command(),
            version=version("marco-train"),
        )

    def _command(self) -> str:
        stages = () if self.lineage is None else self.lineage.stages
        run = f"STAGE_{len(stages)}" if stages else shlex.quote(Path(self.model.path).name)
        said = [] if not stages else [f"checkpoint={stages[-1].step}"]
        if self.settings.weights != "trained":
            said.append(f"weights={self.settings.weights}")
        if self.settings.dtype is not None:
            said.append(f"dtype={self.settings.dtype}")
        return " ".join(["marco export", run, *said])


def prepare(settings: ExportSettings) -> Export:
    """Find the model, its history and its scores; check all of it before anything is written.

    Raises:
        MarcoError: what is wrong.
    """
    if settings.push_to_hub is not None:
        check_token()
    model = find_model(settings.run, "run", settings.checkpoint, settings.weights == "ema")
    lineage = None
    if model.run is not None and model.checkpoint is not None:
        lineage = lineage_of(model.run, model.checkpoint)
    output = settings.output or Path("exports") / _name(model, lineage)
    check_new(output.expanduser())
    layout = {
        name: Layout(
            stored.dtype if settings.dtype is None else getattr(torch, settings.dtype),
            stored.shape,
        )
        for name, stored in model.weights.tensors.items()
    }
    if len({each.dtype for each in layout.values()}) > 1:
        raise ConfigError(f"{settings.run} has tensors of several types: say dtype=….")
    files = shards(layout, settings.max_shard_size)
    scores = _scores(settings, model)
    return Export(settings, model, output.expanduser(), layout, files, lineage, scores)


def _name(model: StoredModel, lineage: Lineage | None) -> Path:
    return Path(lineage.stages[-1].name) if lineage is not None else Path(Path(model.path).name)


def _scores(settings: ExportSettings, model: StoredModel) -> tuple[list[Row], list[Aggregate]]:
    if settings.scores is not None:
        return read_scores(settings.scores.expanduser())
    if model.run is not None and model.manifest is not None:
        folder = model.run / "evaluations" / f"step-{model.manifest.step:08d}"
        if folder.is_dir():
            return read_scores(folder)
    return [], []


def _pieces(weights: Weights, dtype: torch.dtype, name: str) -> Iterator[torch.Tensor]:
    for piece in weights.pieces(name):
        yield piece.to(dtype)


def _like_origin(lineage: Lineage | None, folder: Path) -> None:
    """Let a model that was trained on generate as the one it started from: temperature and all."""
    if lineage is None or lineage.origin is None:
        return
    if looks_local(lineage.origin):
        found: str | Path | None = Path(lineage.origin).expanduser() / GENERATION
    else:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(lineage.origin, GENERATION)
        found = cached if isinstance(cached, str) else None
    if found is not None and Path(found).is_file():
        text = Path(found).read_text(encoding="utf-8")
        (folder / GENERATION).write_text(text, encoding="utf-8")
