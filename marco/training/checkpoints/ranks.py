"""Doing something on every process and agreeing on whether it worked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist

from marco.errors import CheckpointError

T = TypeVar("T")


class CheckpointWriteError(CheckpointError):
    """A checkpoint that could not be written; what was there before is untouched.

    Training can go on: catch it, warn, and try again at the next interval.
    """


def distributed() -> bool:
    """Return whether there is a process group to talk to."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Return this process's number, 0 when it is alone."""
    return dist.get_rank() if distributed() else 0


def world_size() -> int:
    """Return the number of processes, 1 when this one is alone."""
    return dist.get_world_size() if distributed() else 1


def together(action: Callable[[], T]) -> list[T]:
    """Run ``action`` on every process and return every process's result, in the order of ranks.

    A collective and a barrier. When it fails anywhere it fails everywhere: processes that went on
    alone would wait for ever in their next collective. An `OSError` becomes a
    `CheckpointWriteError`, but only if no process failed for a graver reason.
    """
    if not distributed():
        return [action()]
    value: T | None = None
    failure: Exception | None = None
    try:
        value = action()
    except Exception as error:
        failure = error
    outcomes: list[tuple[T | None, str, str] | None] = [None] * world_size()
    dist.all_gather_object(outcomes, (value, _kind(failure), _text(failure)))
    failed = [
        (number, outcome) for number, outcome in enumerate(outcomes) if outcome and outcome[1]
    ]
    if failed:
        message = "; ".join(f"process {number}: {text}" for number, (_, _, text) in failed)
        writing = all(kind == "write" for _, (_, kind, _) in failed)
        error_type = CheckpointWriteError if writing else CheckpointError
        raise error_type(message) from failure
    return [outcome[0] for outcome in outcomes if outcome is not None]  # type: ignore[misc]


def each(action: Callable[[], T]) -> T:
    """Run ``action`` on every process and return this one's result, failing as `together` does."""
    result: list[T] = []
    together(lambda: result.append(action()))
    return result[0]


def _kind(error: Exception | None) -> str:
    if error is None:
        return ""
    return "write" if isinstance(error, (OSError, CheckpointWriteError)) else "other"


def _text(error: Exception | None) -> str:
    if error is None:
        return ""
    return str(error) if isinstance(error, CheckpointError) else f"{type(error).__name__}: {error}"
