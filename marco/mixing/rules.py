"""The rules that look at nothing but sizes: uniform, natural, temperature, UniMax."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from marco.errors import ConfigError
from marco.mixing.rule import Rule, checked_sizes
from marco.mixing.schedule import normalised


@dataclass(frozen=True)
class Uniform(Rule):
    """Every source gets the same share, whatever its size."""

    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """See :meth:`Rule.shares`."""
        return normalised(dict.fromkeys(checked_sizes(sizes), 1.0))


@dataclass(frozen=True)
class Natural(Rule):
    """Shares in proportion to sizes: every source is repeated equally often."""

    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """See :meth:`Rule.shares`."""
        checked = checked_sizes(sizes)
        total = sum(checked.values())
        return {name: size / total for name, size in checked.items()}


@dataclass(frozen=True)
class Temperature(Rule):
    """p ∝ size^alpha, as in XLM-R (1911.02116) and mT5 (2010.11934), which both chose 0.3.

    ``alpha=1`` is natural, ``alpha=0`` uniform. Alpha is the inverse of the temperature T that
    other papers name.
    """

    alpha: float

    def __post_init__(self) -> None:
        """Refuse exponents under which small sources would be drawn more than large ones."""
        super().__post_init__()
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ConfigError(
                f"mix.alpha={self.alpha}: must be a number from 0 (uniform) to 1 (natural), "
                "or above 1 to favour large languages further"
            )

    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """See :meth:`Rule.shares`."""
        checked = checked_sizes(sizes)
        # Relative to the largest, so that no exponent overflows.
        largest = max(checked.values())
        return normalised({name: (n / largest) ** self.alpha for name, n in checked.items()})


@dataclass(frozen=True)
class UniMax(Rule):
    """The budget shared evenly, no source repeated more than ``epoch_cap`` times.

    UniMax, algorithm 1 of Chung et al. 2023 (2304.09151): from the smallest source to the largest,
    each gets an even part of what is left of the budget, or ``epoch_cap`` times its size if that
    is less. Unlike the paper's, ours refuses a budget that all sources together cannot fill under
    the cap: scaling the capped parts up would pass the cap without saying so.
    """

    epoch_cap: float

    def __post_init__(self) -> None:
        """Refuse a cap under which nothing could be drawn."""
        super().__post_init__()
        if not (math.isfinite(self.epoch_cap) and self.epoch_cap > 0):
            raise ConfigError(
                f"mix.epoch_cap={self.epoch_cap}: must be a number above 0, "
                "the most times that a language's text may be repeated"
            )

    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """See :meth:`Rule.shares`."""
        checked = checked_sizes(sizes)
        if budget <= 0:
            raise ConfigError(f"mix: unimax needs a budget above 0 tokens, not {budget:,}")
        # Fractions: the caps hold exactly, and the order of the sources cannot matter.
        cap = Fraction(self.epoch_cap)
        total = sum(checked.values())
        if budget > cap * total:
            raise ConfigError(
                f"mix.epoch_cap={self.epoch_cap:g}: {len(checked)} sources of {total:,} tokens "
                f"together cannot fill {budget:,} tokens under that cap; the largest budget "
                f"that fits is {math.floor(cap * total):,}, the smallest epoch_cap for this "
                f"budget {_rounded_up(Fraction(budget, total))}"
            )
        left = Fraction(budget)
        parts: dict[str, Fraction] = {}
        for done, name in enumerate(sorted(checked, key=checked.__getitem__)):
            parts[name] = min(left / (len(checked) - done), cap * checked[name])
            left -= parts[name]
        return {name: float(parts[name] / budget) for name in checked}


def _rounded_up(value: Fraction) -> str:
    """Print with two decimals, never below ``value``: the advice must work when it is taken."""
    return f"{math.ceil(value * 100) / 100:.2f}"
