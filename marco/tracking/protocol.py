"""What the callbacks read from the LightningModule."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


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

    at_boundary: bool
    """Whether the micro-batch that just ended completed an optimizer step."""

    last_metrics: dict[str, float]
    """``train/loss`` (nats a token), ``train/gradient_norm``, ``train/learning_rate``."""

    flops_per_token: float
    """Model FLOPs of forward and backward for one token (``marco.tracking.flops``)."""

    language_tokens: dict[str, int]
    """Tokens trained on so far, by language code."""

    language_epochs: dict[str, float]
    """Passes over a language's training text so far."""

    language_losses: dict[str, float]
    """Mean loss (nats a token) of the last optimizer step, only of languages it contained."""

    world_size: int
    """Processes (devices) that train together."""
