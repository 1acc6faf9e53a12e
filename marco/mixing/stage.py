"""One stage of a run, and what is wrong with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from marco.errors import ConfigError, nearest
from marco.mixing.rule import Rule


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        mix: its rule. A cap in it (UniMax) is on the tokens of this stage alone.
        tokens: a whole number of tokens, or a fraction of the budget, written with a point (0.1 is
            a tenth, 1.0 all of it). None: what the other stages leave; one stage may say so.
        sources: languages (any alias), other sources, or resource groups (``low``) that its rule
            sees; the others have share 0. None: all of the data.
        replay: the part of its tokens, 0 to 1, that an earlier stage's average shares split.
        replay_of: that stage; None: the one before.
    """

    mix: Rule
    tokens: int | float | None = None
    sources: list[str] | None = None
    replay: float = 0.0
    replay_of: str | None = None


def check_stage(name: str, stage: Stage, before: Sequence[str]) -> None:
    """Raise ConfigError for settings that no data could make right; ``before`` it come those."""
    where = f"mix.stages.{name}"
    tokens = stage.tokens
    if isinstance(tokens, float) and not 0 < tokens <= 1:
        whole = f"; for tokens write {int(tokens)}" if tokens > 1 and math.isfinite(tokens) else ""
        raise ConfigError(
            f"{where}.tokens={tokens}: a number with a point is a fraction of the budget, above 0 "
            f"and at most 1.0{whole}"
        )
    if isinstance(tokens, int) and tokens < 1:
        raise ConfigError(f"{where}.tokens={tokens}: must be above 0")
    if stage.sources is not None and not stage.sources:
        raise ConfigError(f"{where}.sources=[]: name at least one source, or drop the key")
    if not (math.isfinite(stage.replay) and 0 <= stage.replay <= 1):
        raise ConfigError(f"{where}.replay={stage.replay}: must be from 0 to 1")
    if stage.replay and not before:
        raise ConfigError(f"{where}.replay={stage.replay:g}: the first stage has none before it")
    if stage.replay_of is not None and not stage.replay:
        raise ConfigError(f"{where}.replay_of={stage.replay_of} needs {where}.replay above 0")
    if stage.replay_of is not None and stage.replay_of not in before:
        raise ConfigError(
            f"{where}.replay_of={stage.replay_of}: must be a stage before it, of "
            f"{', '.join(before)}.{nearest(stage.replay_of, before)}"
        )
