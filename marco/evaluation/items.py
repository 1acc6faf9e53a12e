"""One measured item of a task, kept so that two runs can be compared item by item later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Item:
    """What a model made of one document of a task.

    Attributes:
        task: the task's name, as in its rows.
        language: canonical code, as in its rows.
        id: the same for the same document in any run: a hash of its content.
        metrics: the item's own value of each metric that is a number; of a likelihood over a
            length, both: ``bits_per_byte:loglikelihood`` and ``bits_per_byte:length``.
        prediction: the text generated, before any filter, or the option chosen; None of a
            likelihood alone.
        target: the reference; of several the first.
        loglikelihoods: in nats, of each option or of the text.
        family: the task's name in the config, under which its rows are filed; None until the
            evaluation is written.
    """

    task: str
    language: str
    id: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    prediction: str | None = None
    target: str | None = None
    loglikelihoods: tuple[float, ...] = ()
    family: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Item:
        """Build an item from ``as_dict``'s fields."""
        return cls(**{**fields, "loglikelihoods": tuple(fields["loglikelihoods"])})


def content_id(*content: Any) -> str:
    """Return a name for a document: the same in every run, whatever its place in the data."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
