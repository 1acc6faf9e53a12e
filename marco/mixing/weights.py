"""An explicit weight for every source."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from marco.errors import ConfigError
from marco.mixing.rule import Rule, checked_sizes
from marco.mixing.schedule import normalised
from marco.mixing.sources import resolve


@dataclass(frozen=True)
class Weights(Rule):
    """Shares in proportion to a table, as in XGLM (2112.10668) and Salamandra (2502.08489).

    ``table`` maps languages (any alias) or other sources to weights: relative ones, so adding a
    language takes a little from every other. A weight of 0 leaves a language untrained while it
    is still evaluated.
    """

    table: dict[str, float]

    def __post_init__(self) -> None:
        """Refuse what cannot be a weight."""
        super().__post_init__()
        if not self.table:
            raise ConfigError("mix.table: empty; give a weight for every language of the data")
        for name, weight in self.table.items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"mix.table.{name}={weight}: must be a number, 0 or above")

    def check(self, languages: Sequence[str]) -> None:
        """See :meth:`Rule.check`; also, data and table must name the same languages."""
        super().check(languages)
        self._matched(languages)

    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """See :meth:`Rule.shares`."""
        return normalised(self._matched(checked_sizes(sizes)))

    def _matched(self, present: Collection[str]) -> dict[str, float]:
        """Return the weight of each source of the data, in the data's order."""
        weights: dict[str, float] = {}
        written: dict[str, str] = {}
        for name, weight in self.table.items():
            source = resolve(name, present, f"mix.table.{name}")
            if source in weights:
                raise ConfigError(
                    f"mix.table: '{written[source]}' and '{name}' are the same language ({source})"
                )
            weights[source], written[source] = weight, name
        missing = [source for source in present if source not in weights]
        surplus = [written[source] for source in weights if source not in present]
        problems = []
        if missing:
            problems.append(
                f"no weight for {', '.join(missing)}, add it with '+mix.table.{missing[0]}=…'"
            )
        if surplus:
            problems.append(
                f"a weight for {', '.join(surplus)}, which the data does not have, "
                f"remove it with '~mix.table.{surplus[0]}'"
            )
        if problems:
            raise ConfigError(f"mix.table: {'; '.join(problems)}")
        if not any(weights.values()):
            raise ConfigError("mix.table: every weight is 0; give at least one language some")
        return {source: weights[source] for source in present}
