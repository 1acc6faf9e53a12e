"""A task of lm-eval with its requests: what is the same whatever model answers."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PreparedTask:
    """One of lm-eval's tasks, ready to be answered.

    Attributes:
        name: lm-eval's name, such as ``belebele_swh_Latn``.
        family: the task set of the config that it belongs to.
        language: canonical code of the language that is measured.
        source: of a translation, the language translated from.
        metrics: those that are reported; None: all that the task has.
        task: lm-eval's task.
        requests: of all its documents, those of one document beside each other.
        failure: why it could not be prepared; then there is neither task nor request.
    """

    name: str
    family: str
    language: str
    source: str | None
    metrics: tuple[str, ...] | None
    task: Any
    requests: tuple[Any, ...]
    failure: Exception | None = None


def requests_of(
    task: Any,
    limit: int | None,
    chat_template: Callable[..., str] | None = None,
    tokenizer_name: str = "",
) -> tuple[Any, ...]:
    """Build the requests of a task's first `limit` documents (None: of all).

    Args:
        task: a built task of lm-eval.
        limit: documents, as `lm_eval --limit`.
        chat_template: renders messages, where the model is a chat model.
        tokenizer_name: names the template for lm-eval's own cache.

    Raises:
        Whatever the task raises over its documents.
    """
    with contextlib.redirect_stderr(io.StringIO()), quiet():  # a progress bar of each task
        task.build_all_requests(
            limit=limit,
            rank=0,
            world_size=1,
            apply_chat_template=chat_template is not None,
            chat_template=chat_template,
            tokenizer_name=tokenizer_name,
        )
    return tuple(task.instances)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without lm-eval's lines of log, several of each of hundreds of tasks; errors are raised."""
    log = logging.getLogger("lm_eval")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
