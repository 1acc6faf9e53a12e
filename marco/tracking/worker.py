"""A thread that talks to a service, so that a service that hangs cannot hold the caller."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
Job = tuple[Callable[[], object], "Future[object] | None"]


class Worker:
    """Runs jobs one after the other in a daemon thread.

    ``submit`` never waits: with ``limit`` jobs waiting (a service that stopped answering) the new
    one is dropped. ``call`` waits at most ``timeout`` seconds. A daemon thread does not keep the
    process alive when it is stuck.
    """

    def __init__(self, name: str, on_error: Callable[[Exception], None], limit: int = 4096) -> None:
        self._jobs: queue.Queue[Job | None] = queue.Queue(limit)
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], object]) -> bool:
        """Queue ``job``; errors go to ``on_error``. Returns False if it had to be dropped."""
        try:
            self._jobs.put_nowait((job, None))
        except queue.Full:
            return False
        return True

    def call(self, job: Callable[[], T], timeout: float) -> T:
        """Run ``job`` after all queued ones and return its result, or raise what it raised.

        Raises:
            TimeoutError: it was not done (or could not be queued) within ``timeout`` seconds.
        """
        future: Future[object] = Future()
        result: list[T] = []
        try:
            self._jobs.put((lambda: result.append(job()), future), timeout=timeout)
        except queue.Full:
            raise TimeoutError(f"still busy after {timeout:g} s") from None
        try:
            future.result(timeout)
        except TimeoutError:
            if future.done():  # the job's own TimeoutError, with its own message
                raise
            raise TimeoutError(f"no answer within {timeout:g} s") from None
        return result[0]

    def stop(self) -> None:
        """End the thread after the queued jobs; never waits."""
        try:
            self._jobs.put_nowait(None)
        except queue.Full:
            return  # stuck: it stays a daemon thread and ends with the process

    def _run(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                job()
            except Exception as error:  # whatever the client raises is handed on
                if future is None:
                    self._on_error(error)
                else:
                    future.set_exception(error)
            except BaseException as error:  # SystemExit in a thread would end it without a word
                wrapped = RuntimeError(f"{type(error).__name__}: {error}")
                if future is None:
                    self._on_error(wrapped)
                else:
                    future.set_exception(wrapped)
            else:
                if future is not None:
                    future.set_result(None)
