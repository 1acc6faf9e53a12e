"""What every mixing rule offers, and the steps they all share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import ClassVar, Literal

from marco.errors import ConfigError, DataError, nearest
from marco.mixing.endings import exhaustion_notes
from marco.mixing.exhaustion import Policy
from marco.mixing.exhaustion import exhausted as after_exhaustion
from marco.mixing.iid import IidOrder
from marco.mixing.order import Order
from marco.mixing.quota import QuotaOrder
from marco.mixing.schedule import MixSchedule, Segment

_SAMPLINGS = ("quota", "iid")
_POLICIES = ("repeat", "redistribute", "stop")


@dataclass(frozen=True)
class Rule(ABC):
    """Turns the sizes of the sources into the share of the training tokens that each gets.

    A source is a language (canonical code) or something that is not one, such as ``parallel``.

    Attributes:
        sampling: ``quota`` keeps every prefix of the run within a sequence of the shares, ``iid``
            draws each sequence by chance.
        exhausted: what happens when a source has been served ``max_epochs`` times: ``repeat`` goes
            on, ``redistribute`` gives its share to the others, ``stop`` ends the run.
        max_epochs: the most times that a source is served; None is 1 where something happens then.
    """

    sampling: Literal["quota", "iid"] = field(default="quota", kw_only=True)
    exhausted: Policy = field(default="repeat", kw_only=True)
    max_epochs: float | None = field(default=None, kw_only=True)

    #: Whether the rule is a schedule: its shares change over the run.
    over_time: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Refuse settings that no data could make right."""
        for key, value, choices in (
            ("sampling", self.sampling, _SAMPLINGS),
            ("exhausted", self.exhausted, _POLICIES),
        ):
            if value not in choices:
                guess = nearest(str(value), choices)
                raise ConfigError(f"mix.{key}={value}: one of {', '.join(choices)}.{guess}")
        if self.max_epochs is None:
            return
        if not (math.isfinite(self.max_epochs) and self.max_epochs > 0):
            raise ConfigError(
                f"mix.max_epochs={self.max_epochs}: must be a number above 0, or null"
            )
        if self.exhausted == "repeat":
            raise ConfigError(
                f"mix.max_epochs={self.max_epochs:g} has no effect with mix.exhausted=repeat; "
                "say redistribute or stop, or set mix.max_epochs=null"
            )

    @abstractmethod
    def shares(self, sizes: Mapping[str, int], budget: int) -> dict[str, float]:
        """Return each source's share of the ``budget``, before anything runs out.

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

    def segments(self, sizes: Mapping[str, int], budget: int) -> tuple[Segment, ...]:
        """Return how the shares move over ``budget`` tokens, before anything runs out."""
        shares = self.shares(sizes, budget)
        return (Segment("", budget, shares, shares),)

    def schedule(self, sizes: Mapping[str, int], budget: int, length: int = 1) -> MixSchedule:
        """Return the whole run's schedule, with what happens to sources that run out.

        Args:
            sizes: training tokens that each source holds.
            budget: tokens that will be trained on.
            length: tokens of a sequence; what a source may serve, ``max_epochs`` times its size,
                is rounded down to whole ones.

        Raises:
            DataError: a source holds no tokens.
            ConfigError: the rule does not fit these sources or this budget, or they run out
                before its end.
        """
        self.check_budget(budget)
        self._check_inner("mix")
        planned = MixSchedule(self.segments(sizes, budget))
        return after_exhaustion(planned, self._limits(sizes, length), self.exhausted)

    def order(
        self,
        schedule: MixSchedule,
        length: int,
        seed: int,
        size: Callable[[int, int], int] | None = None,
    ) -> Order:
        """Return the order of sequences under `schedule`, as ``sampling`` says; see `Order`."""
        if self.sampling == "iid":
            return IidOrder(schedule, length, size, seed=seed)
        return QuotaOrder(schedule, length, size)

    def check(self, languages: Sequence[str]) -> None:
        """Check the rule against the names of the sources, before any of them is read.

        Raises:
            ConfigError: there is no source, one is named twice, or the rule does not fit them.
        """
        self._check_inner("mix")
        if not languages:
            raise ConfigError("mix: there is no language to mix; name some in data.languages")
        twice = sorted({name for name in languages if list(languages).count(name) > 1})
        if twice:
            raise ConfigError(f"mix: named more than once in the data: {', '.join(twice)}")

    def check_budget(self, budget: int) -> None:
        """Raise ConfigError where the rule can see, without data, that a budget does not fit."""
        if budget < 1:
            raise ConfigError(f"mix: the budget must be above 0 tokens, not {budget:,}")

    def notes(
        self, sizes: Mapping[str, int], budget: int | None = None, length: int = 1
    ) -> list[str]:
        """Return what the rule did that its settings don't say, one sentence each, for the log.

        With a ``budget`` (and ``length``, see :meth:`schedule`) also which sources run out, when,
        and what the shares are from there on.
        """
        notes = self.own_notes(sizes)
        if budget is None or self.exhausted == "repeat":
            return notes
        planned = MixSchedule(self.segments(sizes, budget))
        return notes + exhaustion_notes(planned, self._limits(sizes, length), self.exhausted)

    def own_notes(self, sizes: Mapping[str, int]) -> list[str]:
        """Return the part of :meth:`notes` that needs no budget."""
        return []

    def inner(self) -> Mapping[str, Rule]:
        """Return the rules inside this one, by their key below this one's."""
        return {}

    def _limits(self, sizes: Mapping[str, int], length: int) -> dict[str, int]:
        """Return the tokens that each source may serve, whole sequences of ``length``."""
        epochs = Fraction(1 if self.max_epochs is None else self.max_epochs)
        return {name: int(epochs * size) // length * length for name, size in sizes.items()}

    def _check_inner(self, path: str) -> None:
        """Refuse inside a rule what only the root can have."""
        settings = [setting for setting in fields(Rule) if setting.kw_only]
        for key, rule in self.inner().items():
            for setting in settings:
                value = getattr(rule, setting.name)
                if value != setting.default:
                    raise ConfigError(
                        f"{path}.{key}.{setting.name}={value}: the whole run has one; "
                        f"set mix.{setting.name}"
                    )
            if rule.over_time and not self.over_time:
                raise ConfigError(
                    f"{path}.{key}: {type(rule).__name__} is a schedule, whose shares move over "
                    "the run; only mix itself, or a stage's mix, can be one"
                )
            rule._check_inner(f"{path}.{key}")


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
