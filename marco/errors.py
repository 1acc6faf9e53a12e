"""The errors a user can cause. Each message says what was wrong, where, and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MarcoError(Exception):
    """Base of every error that is shown to the user as one message, without a traceback."""


class ConfigError(MarcoError):
    """A wrong override, value, or combination of values: found before anything starts."""


class DataError(MarcoError):
    """Text, tokens or a vocabulary that cannot be used."""


class CheckpointError(MarcoError):
    """A checkpoint that is missing, damaged, or of another model or tokenizer."""


class TrainingError(MarcoError):
    """Training that cannot go on: a loss that is not a number, or one that keeps spiking."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the choice closest to ``word``, or an empty string."""
    names = [str(choice) for choice in choices]
    folded = {name.casefold(): name for name in names}
    found = difflib.get_close_matches(word.casefold(), list(folded), n=1, cutoff=0.5)
    return f" Did you mean '{folded[found[0]]}'?" if found else ""
