"""Rules inside rules: errors that name the whole key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from marco.errors import ConfigError, DataError

_ROOT = re.compile(r"\bmix(?=\.\w|: )")


@contextmanager
def inside(key: str) -> Iterator[None]:
    """Let an inner rule, which takes itself for ``mix``, blame ``mix.<key>`` in its errors."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(at(key, str(error))) from error


def at(key: str, message: str) -> str:
    """Return an inner rule's message with its keys where they stand: ``mix.alpha`` below key."""
    return _ROOT.sub(f"mix.{key}", message)
