"""Requests → responses. Tasks are answered together where they are small, and fail alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from marco.evaluation.harness.prepared import PreparedTask
from marco.evaluation.harness.ranks import agreed, in_step

#: Tasks are answered together up to this many requests: full forwards for the small ones, and a
#: failure costs the others little.
TOGETHER = 2048

Progress = Callable[[int, int], None]


class TookTooLongError(Exception):
    """A task was not done within its time."""


def respond(lm: Any, requests: Sequence[Any]) -> list[list[Any]]:
    """Return the responses to each request, one for each of its repeats.

    Args:
        lm: a model of lm-eval's interface.
        requests: instances of any mix of request types.
    """
    found: list[list[Any]] = [[] for _ in requests]
    kinds = dict.fromkeys(request.request_type for request in requests)
    for kind in kinds:
        asked = [i for i, request in enumerate(requests) if request.request_type == kind]
        repeated = [i for i in asked for _ in range(requests[i].repeats or 1)]
        answers = getattr(lm, kind)([requests[i] for i in repeated])
        for i, answer in zip(repeated, answers, strict=True):
            found[i].append(answer)
    return found


def answer(
    lm: Any,
    tasks: Sequence[PreparedTask],
    minutes: float | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[PreparedTask, list[list[Any]] | Exception]]:
    """Answer every task; yields each with its responses, or with what it failed of.

    Args:
        lm: a model of lm-eval's interface. If it has a `progress`, that is called after every
            forward; without one, a task that takes too long is not noticed.
        tasks: in the order in which they are answered.
        minutes: that a task may take; None: any time.
        progress: called with (requests of whole tasks done, requests in all).

    Several processes that answer in step have no time limit, and an error of one of them is raised:
    one that went on alone would wait for the others for ever.
    """
    tasks = agreed(tasks)
    if in_step():
        minutes = None
    total = sum(len(task.requests) for task in tasks)
    done = 0
    for task in tasks:
        if task.failure is not None:
            yield task, task.failure
    for group in _groups([task for task in tasks if task.failure is None]):
        for task, outcome in _answer_group(lm, group, minutes, progress, (done, total)):
            done += len(task.requests)
            yield task, outcome


def _answer_group(
    lm: Any,
    group: Sequence[PreparedTask],
    minutes: float | None,
    progress: Progress | None,
    before: tuple[int, int],
) -> Iterator[tuple[PreparedTask, list[list[Any]] | Exception]]:
    requests = [request for task in group for request in task.requests]
    limit = None if minutes is None else time.monotonic() + 60 * minutes * len(group)

    def watch(done: int, total: int) -> None:
        if limit is not None and time.monotonic() > limit:
            raise TookTooLongError(f"not done after {minutes:g} minutes")
        if progress is not None:
            progress(before[0] + len(requests) * done // max(total, 1), before[1])

    kept = getattr(lm, "progress", None)
    lm.progress = watch
    try:
        responses = respond(lm, requests)
    except Exception as error:
        if in_step():
            raise
        if len(group) == 1:
            yield group[0], error
            return
        failed = True
    else:
        failed = False
    finally:
        lm.progress = kept
    at = 0
    for task in group:
        if failed:
            yield from _answer_group(lm, [task], minutes, progress, (before[0] + at, before[1]))
        else:
            yield task, responses[at : at + len(task.requests)]
        at += len(task.requests)


def _groups(tasks: Sequence[PreparedTask]) -> Iterator[list[PreparedTask]]:
    group: list[PreparedTask] = []
    size = 0
    for task in tasks:
        if group and size + len(task.requests) > TOGETHER:
            yield group
            group, size = [], 0
        group.append(task)
        size += len(task.requests)
    if group:
        yield group
