"""What every mixing rule offers, and the two steps they all share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marco.errors import ConfigError, DataError


@dataclass(frozen=True)
class Rule(ABC):
    """Turns the sizes of the sources into the share of the training tokens that each gets.

    A source is a language (canonical code) or something that is not one, such as ``parallel``.
    """

    @abstractmethod
    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """Return each source's share of the ``budget``.

        Args:
            sizes: training tokens that each source holds.
            budget: tokens that will be trained on, over all sources.

        Returns:
            shares in the order of ``sizes``, each in [0, 1], adding up to 1 within 1e-12. They
            don't depend on that order.

        Raises:
            DataError: a source holds no tokens.
            ConfigError: the rule cannot be applied to these sources or this budget.
        """

    def check(self, languages: Sequence[str]) -> None:
        """Check the rule against the names of the sources, before any of them is read.

        Raises:
            ConfigError: there is no source, one is named twice, or the rule does not fit them.
        """
        if not languages:
            raise ConfigError("mix: there is no language to mix; name some in data.languages")
        twice = sorted({name for name in languages if list(languages).count(name) > 1})
        if twice:
            raise ConfigError(f"mix: named more than once in the data: {', '.join(twice)}")

    def notes(self, sizes: Mapping[str, int]) -> list[str]:
        """Return what the rule did that its settings don't say, one sentence each, for the log."""
        return []


def checked_sizes(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return ``sizes`` as a dict; raise DataError naming every source that holds no tokens."""
    if not sizes:
        raise DataError("mix: there is no source to mix: the corpus is empty")
    empty = [name for name, size in sizes.items() if size <= 0]
    if empty:
        raise DataError(
            f"mix: no training tokens for {', '.join(empty)}; "
            "take them out of the data, or give them text"
        )
    return dict(sizes)


def normalised(weights: Mapping[str, float]) -> dict[str, float]:
    """Divide by the sum. ``math.fsum`` rounds once, so the order of the keys changes nothing."""
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items()}
