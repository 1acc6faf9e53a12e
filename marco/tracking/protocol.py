"""What the callbacks read from the LightningModule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TrackedModule(Protocol):
    """Attributes of the LightningModule, reduced over the world: the same on every process.

    They describe the state after the last completed optimizer step and are read in
    ``on_train_batch_end`` when ``at_boundary`` is true.
    """

    tokens_seen: int
    """Target tokens trained on so far, summed over all processes, resumed ones included."""

    step: int
    """Optimizer steps done."""

    total_tokens: int
    """The budget of the run, in the unit of ``tokens_seen``."""

    stages: Sequence[tuple[str, int]]
    """The stages of the mix by name, with the tokens at which each ends; empty: it has none."""

    at_boundary: bool
    """Whether the micro-batch that just ended completed an optimizer step."""

    last_metrics: dict[str, float]
    """``train/loss`` (nats a token, or of a pair), ``train/gradient_norm``,
    ``train/learning_rate``."""

    flops_per_token: float
    """Model FLOPs of forward and backward for one token (``marco.tracking.flops``)."""

    language_losses: dict[str, float]
    """Mean loss (nats a token, or of a pair) of the last optimizer step, only of sources it
    contained."""

    language_measures: dict[str, dict[str, float]]
    """What the objective measures besides, by name, likewise; {} where it measures nothing else."""

    weigh_by: str
    """The field of the ledger whose growth weighs these means when steps are averaged."""

    ledger_entries: dict[str, dict[str, Any]]
    """What was served so far, by source of the mix (``marco.data.ledger.entry``): mostly a
    language, by its code."""

    world_size: int
    """Processes (devices) that train together."""
