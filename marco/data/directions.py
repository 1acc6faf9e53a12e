"""Which way a pair is read: weights of directions, and draws by them.

`any_to_any` gives every direction weight 1, `english_centric` those from and to English; a table
(`{eng-swh: 2, swh-eng: 1}`) gives its own, and 0 to what it does not name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TypeAlias

from marco.errors import ConfigError, nearest
from marco.languages import get

RULES = ("any_to_any", "english_centric")

#: Canonical codes: from, to.
Direction: TypeAlias = tuple[str, str]


@dataclass(frozen=True)
class Directions:
    """Weights of directions.

    Attributes:
        rule: one of `RULES`, or the table: direction → weight.
    """

    rule: str | Mapping[Direction, float]

    @classmethod
    def parse(cls, written: str | Mapping[str, float], key: str) -> Directions:
        """Read what the config says.

        Raises:
            ConfigError: naming `key`: no such rule; a table with an unknown language, a direction
                twice, a weight that is no finite number from 0, or no weight at all.
        """
        if isinstance(written, str):
            if written not in RULES:
                raise ConfigError(
                    f"{key}={written}: one of {', '.join(RULES)}, or a table such as "
                    f"{{eng-swh: 2, swh-eng: 1}}.{nearest(written, RULES)}"
                )
            return cls(written)
        table: dict[Direction, float] = {}
        for name, weight in written.items():
            direction = _direction(name, f"{key}.{name}")
            if direction in table:
                raise ConfigError(f"{key}.{name}: {'-'.join(direction)} is there twice.")
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"{key}.{name}={weight}: a finite number, 0 or more.")
            table[direction] = float(weight)
        if not any(table.values()):
            raise ConfigError(f"{key}: no direction has a weight above 0.")
        return cls(table)

    def weight(self, source: str, target: str) -> float:
        """Return the weight of a direction; 0 means never."""
        if isinstance(self.rule, str):
            return 1.0 if self.rule == "any_to_any" or "eng" in (source, target) else 0.0
        return self.rule.get((source, target), 0.0)

    def check(self, codes: Collection[str], key: str) -> None:
        """Compare with the languages that the pairs are in.

        Raises:
            ConfigError: the table names another language, or nothing could ever be drawn.
        """
        if not isinstance(self.rule, str):
            for direction in self.rule:
                for code in direction:
                    if code not in codes:
                        raise ConfigError(
                            f"{key}.{'-'.join(direction)}: there are no pairs with "
                            f"{get(code).name} ({code}), but with {', '.join(codes)}."
                            f"{nearest(code, codes)}"
                        )
        if not any(self.weight(*direction) for direction in permutations(codes, 2)):
            raise ConfigError(f"{key}: no direction has a weight among {', '.join(codes)}.")


def draw(
    weighted: Sequence[tuple[Direction, float]],
    count: int | None,
    uniform: Callable[[int], float],
) -> list[Direction]:
    """Draw directions without replacement.

    The first is drawn in proportion to the weights, each further one in proportion among those
    left: with more than one draw, shares are flatter than the weights.

    Args:
        weighted: directions with weights above 0, in an order that depends on nothing else.
        count: how many; None, or as many as there are: all of them, in the given order.
        uniform: the number in [0, 1) for draw 0, 1, ….
    """
    if count is None or count >= len(weighted):
        return [direction for direction, _ in weighted]
    left = list(weighted)
    drawn: list[Direction] = []
    for number in range(count):
        point = uniform(number) * sum(weight for _, weight in left)
        chosen = len(left) - 1  # where rounding leaves the point past the last weight
        for place, (_, weight) in enumerate(left):
            point -= weight
            if point < 0:
                chosen = place
                break
        drawn.append(left.pop(chosen)[0])
    return drawn


def _direction(name: str, key: str) -> Direction:
    parts = name.split("-")
    if len(parts) != 2:
        raise ConfigError(
            f"{key}: a direction is two languages and one hyphen, such as eng-swh "
            "(a script is joined by an underscore: zho_Hans-eng)."
        )
    try:
        source, target = (get(part).code for part in parts)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None
    if source == target:
        raise ConfigError(f"{key}: both sides are {get(source).name} ({source}).")
    return source, target
