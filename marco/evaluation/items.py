"""One measured item of a task, kept so that two runs can be compared item by item later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Item:
    """What a model made of one document of a task.

    Attributes:
        task: the task's name, as in its rows.
        language: canonical code, as in its rows.
        id: the same for the same document in any run: a hash of its content.
        metrics: the item's own value of each metric that is a number; of a likelihood over a
            length, both: ``bits_per_byte:loglikelihood`` and ``bits_per_byte:length``.
        prediction: the text generated, or the option chosen; None of a likelihood alone.
        target: the reference.
        loglikelihoods: in nats, of each option or of the text.
    """

    task: str
    language: str
    id: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    prediction: str | None = None
    target: str | None = None
    loglikelihoods: tuple[float, ...] = ()
