"""The methods by the names that `marco merge method=…` takes, which are mergekit's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from marco.models.merging.linear import linear
from marco.models.merging.passes import Prepare
from marco.models.merging.residual import instruction_residual
from marco.models.merging.slerp import slerp
from marco.models.merging.task_vectors import task_vectors

Name = Literal[
    "linear",
    "slerp",
    "task_arithmetic",
    "ties",
    "dare_linear",
    "dare_ties",
    "instruction_residual",
]


@dataclass(frozen=True)
class Method:
    """What a method needs, and its defaults.

    Attributes:
        base: whether there is a base, which the models are compared with.
        models: how many there must be besides it; None: any number.
        normalise: whether weights are divided by their sum, unless the user says.
        weight: of every model, unless the user says.
        one_weight: whether it takes one weight, whatever the number of models.
        sparse: whether it has a density.
    """

    prepare: Prepare
    base: bool = True
    models: int | None = None
    normalise: bool = False
    weight: float = 1.0
    one_weight: bool = False
    sparse: bool = False


METHODS: dict[Name, Method] = {
    "linear": Method(linear, base=False, normalise=True),
    "slerp": Method(slerp, models=1, weight=0.5, one_weight=True),
    "task_arithmetic": Method(task_vectors("all", elect=False)),
    "ties": Method(task_vectors("largest", elect=True), normalise=True, sparse=True),
    "dare_linear": Method(task_vectors("random", elect=False), sparse=True),
    "dare_ties": Method(task_vectors("random", elect=True), sparse=True),
    "instruction_residual": Method(instruction_residual, models=2, one_weight=True),
}
