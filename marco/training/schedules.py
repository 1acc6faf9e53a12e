"""Learning-rate schedules: plain functions of the share of the token budget that is spent.

They are computed from the config, never from the trainer, so a resumed run and a plan agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

from marco.errors import ConfigError


class Schedule(Protocol):
    """Anything that scales the peak learning rate."""

    def factor(self, progress: float) -> float:
        """Scale of the peak learning rate, where `progress` in [0, 1] of the budget is spent."""
        ...


def _check(warmup: float, final: float) -> None:
    if not 0 <= warmup < 1:
        raise ConfigError(f"schedule.warmup={warmup} is a share of the budget: 0 ≤ warmup < 1.")
    if not 0 <= final <= 1:
        raise ConfigError(f"schedule.final={final} is a share of the peak: 0 ≤ final ≤ 1.")


def _warm(progress: float, warmup: float) -> float:
    return min(1.0, progress / warmup) if warmup > 0 else 1.0


def _rest(progress: float, warmup: float) -> float:
    """How much of what follows the warm-up is spent, in [0, 1]."""
    return min(1.0, max(0.0, progress - warmup) / (1 - warmup))


@dataclass(frozen=True)
class Constant:
    """Warm up over `warmup` (share of the budget), then stay at the peak."""

    warmup: float = 0.01

    def __post_init__(self) -> None:
        _check(self.warmup, 0.0)

    def factor(self, progress: float) -> float:
        """See `Schedule`."""
        return _warm(progress, self.warmup)


@dataclass(frozen=True)
class WarmupCosine:
    """Warm up, then fall along half a cosine to `final` of the peak (arXiv 1608.03983)."""

    warmup: float = 0.01
    final: float = 0.1

    def __post_init__(self) -> None:
        _check(self.warmup, self.final)

    def factor(self, progress: float) -> float:
        """See `Schedule`."""
        left = 0.5 * (1 + math.cos(math.pi * _rest(progress, self.warmup)))
        return _warm(progress, self.warmup) * (self.final + (1 - self.final) * left)


@dataclass(frozen=True)
class WarmupLinear:
    """Warm up, then fall in a straight line to `final` of the peak."""

    warmup: float = 0.01
    final: float = 0.0

    def __post_init__(self) -> None:
        _check(self.warmup, self.final)

    def factor(self, progress: float) -> float:
        """See `Schedule`."""
        fallen = (1 - self.final) * _rest(progress, self.warmup)
        return _warm(progress, self.warmup) * (1 - fallen)


@dataclass(frozen=True)
class WarmupStableDecay:
    """Warm up, stay at the peak, fall over the last `decay` of the budget (arXiv 2404.06395).

    Attributes:
        decay: share of the budget that the fall takes.
        shape: `linear`, or `sqrt`, which is 1 − sqrt(x) (arXiv 2405.18392).
    """

    warmup: float = 0.01
    decay: float = 0.2
    final: float = 0.0
    shape: Literal["linear", "sqrt"] = "linear"

    def __post_init__(self) -> None:
        _check(self.warmup, self.final)
        if not 0 < self.decay <= 1 - self.warmup:
            raise ConfigError(
                f"schedule.decay={self.decay} is a share of the budget: "
                f"0 < decay ≤ 1 - schedule.warmup ({1 - self.warmup:g})."
            )

    def factor(self, progress: float) -> float:
        """See `Schedule`."""
        start = 1 - self.decay
        if progress <= start:
            return _warm(progress, self.warmup)
        rest = min(1.0, (progress - start) / self.decay)
        fallen = rest if self.shape == "linear" else math.sqrt(rest)
        return self.final + (1 - self.final) * (1 - fallen)
