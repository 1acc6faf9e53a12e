"""The root of `marco merge` (``conf/merge.yaml``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from marco.errors import ConfigError, nearest
from marco.models.merging.methods import METHODS, Method, Name
from marco.models.merging.passes import Rescale


@dataclass(frozen=True)
class MergeSettings:
    """Which models are merged, how, and what is written; see ``conf/merge.yaml`` for each key."""

    method: Name
    base: str | None
    models: list[str]
    weights: float | list[float] | None
    density: float | list[float]
    normalize: bool | None
    scale: float
    rescale: Rescale
    seed: int
    like: str | None
    dtype: Literal["float32", "bfloat16", "float16"] | None
    max_shard_size: str
    output: Path

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("models=[] names no model.")
        if self.of.base and self.base is None:
            raise ConfigError(
                f"method={self.method} needs base=…, which the models were trained on from."
            )
        if not self.of.base and self.base is not None:
            raise ConfigError(f"method={self.method} has no base: name it among models=[…].")
        if self.of.models is not None and len(self.models) != self.of.models:
            what = "models=[continued,instruct]" if self.of.models == 2 else "models=[other]"
            raise ConfigError(f"method={self.method} takes {what}, not {len(self.models)} models.")
        if not self.of.base and len(self.models) < 2:
            raise ConfigError(f"method={self.method} needs two models or more: models=[a,b].")
        if self.like is not None and self.like not in self.inputs:
            raise ConfigError(
                f"like={self.like} is none of the models that are merged."
                f"{nearest(self.like, self.inputs)}"
            )
        if not all(map(math.isfinite, (*self.each_weight, self.scale))):
            raise ConfigError("weights and scale must be finite numbers.")
        if self.method == "linear" and self.normalises and sum(self.each_weight) == 0:
            raise ConfigError("The weights sum to 0: give normalize=false, or other weights.")
        if not all(0 < density <= 1 for density in self.each_density):
            raise ConfigError(f"density={self.density} must be above 0 and at most 1.")

    @property
    def of(self) -> Method:
        """What the method needs."""
        return METHODS[self.method]

    @property
    def inputs(self) -> tuple[str, ...]:
        """The base, where there is one, and the models."""
        return (*([] if self.base is None else [self.base]), *self.models)

    @property
    def original(self) -> str:
        """Whose tokenizer and configs the result gets."""
        if self.like is not None:
            return self.like
        return self.models[-1] if self.method == "instruction_residual" else self.inputs[0]

    @property
    def normalises(self) -> bool:
        """Whether weights are divided by their sum."""
        return self.of.normalise if self.normalize is None else self.normalize

    @property
    def each_weight(self) -> tuple[float, ...]:
        """One weight for each model, or the only one that the method takes."""
        count = 1 if self.of.one_weight else len(self.models)
        given = self.of.weight if self.weights is None else self.weights
        return _each("weights", given, count)

    @property
    def each_density(self) -> tuple[float, ...]:
        """One density for each model."""
        return _each("density", self.density, len(self.models))


def _each(key: str, given: float | list[float], count: int) -> tuple[float, ...]:
    if not isinstance(given, list):
        return (given,) * count
    if len(given) != count:
        raise ConfigError(f"{key}={given} should be one number, or a list of {count}.")
    return tuple(given)
