"""A folder that appears whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marco.errors import ConfigError


def check_new(output: Path) -> None:
    """Raise ConfigError where something is there already."""
    if output.exists():
        raise ConfigError(f"output={output} exists already: remove it, or name another folder.")


@contextmanager
def appearing(output: Path) -> Iterator[Path]:
    """Yield a folder beside `output`; without an error it becomes `output`, else it is removed.

    Raises:
        ConfigError: `output` exists, or cannot be written.
    """
    check_new(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent)
    except OSError as error:
        raise ConfigError(f"output={output} cannot be written: {error}") from error
    with scratch as place:
        ready = Path(place) / "ready"
        ready.mkdir()
        yield ready
        check_new(output)  # made meanwhile by another process
        os.replace(ready, output)
