"""One merge: the models found and checked, the result written with all that belongs to it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from marco.models.merging.merge import Merge
from marco.models.merging.passes import How
from marco.models.tensors.config import write_config
from marco.models.tensors.folder import appearing, check_new
from marco.training.alike import check_alike
from marco.training.beside import copy_beside
from marco.training.stored import StoredModel, find_model

if TYPE_CHECKING:
    from marco.config.merge import MergeSettings

RECORD = "merge.json"


@dataclass(frozen=True)
class Merging:
    """A merge whose inputs are there and fit each other.

    Attributes:
        inputs: the base, where there is one, and the models.
    """

    settings: MergeSettings
    inputs: tuple[StoredModel, ...]
    merge: Merge

    @property
    def description(self) -> str:
        """Which method made it of what."""
        return f"{self.settings.method} of {', '.join(self.settings.inputs)}"

    def write(self) -> None:
        """Write the model into the output folder, which appears when it is whole.

        Raises:
            ConfigError: the folder exists, or cannot be written.
            DataError: a file of an input is damaged.
        """
        original = self.inputs[self.settings.inputs.index(self.settings.original)]
        first = next(iter(self.inputs[0].weights.tensors.values()))
        with appearing(self.settings.output) as folder:
            self.merge.write(folder)
            copy_beside(original, folder)
            write_config(original.config, self.merge.dtype or first.dtype, folder)
            record = {**asdict(self.settings), "output": None, "inputs": list(self._inputs())}
            text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
            (folder / RECORD).write_text(text, encoding="utf-8")

    def _inputs(self) -> list[dict[str, Any]]:
        return [
            {
                "path": model.path,
                "checkpoint": None if model.checkpoint is None else model.checkpoint.name,
                "tokens": None if model.manifest is None else model.manifest.tokens,
            }
            for model in self.inputs
        ]


def prepare(settings: MergeSettings) -> Merging:
    """Find the models and check all that can be checked before anything is written.

    Raises:
        MarcoError: what is wrong, and with which model.
    """
    check_new(settings.output)
    base = [] if settings.base is None else [find_model(settings.base, "base")]
    models = [find_model(path, f"models[{n}]") for n, path in enumerate(settings.models)]
    inputs = (*base, *models)
    check_alike(inputs)
    how = How(
        settings.each_weight,
        settings.each_density,
        settings.normalises,
        settings.scale,
        settings.rescale,
        seeds=(),
        count=0,
    )
    merge = Merge(
        settings.of,
        tuple(model.weights for model in inputs),
        how,
        settings.seed,
        None if settings.dtype is None else getattr(torch, settings.dtype),
        settings.max_shard_size,
    )
    return Merging(settings, inputs, merge)
