from __future__ import annotations

import sys
import threading

import pytest

from marco.tracking.worker import Worker


def test_jobs_run_in_order_and_call_waits_for_them() -> None:
    seen: list[int] = []
    worker = Worker("test", lambda error: None)
    for number in range(100):
        assert worker.submit(lambda number=number: seen.append(number))
    assert worker.call(lambda: len(seen), timeout=5) == 100
    assert seen == list(range(100))
    worker.stop()


def test_errors_go_to_the_handler_or_to_the_caller() -> None:
    errors: list[Exception] = []
    worker = Worker("test", errors.append)
    worker.submit(lambda: 1 / 0)
    with pytest.raises(KeyError):
        worker.call(lambda: {}["x"], timeout=5)
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        worker.call(lambda: sys.exit(3), timeout=5)
    assert worker.call(lambda: "alive", timeout=5) == "alive"
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_a_job_that_hangs_holds_nobody() -> None:
    hang = threading.Event()
    worker = Worker("test", lambda error: None, limit=3)
    worker.submit(lambda: hang.wait(30))
    with pytest.raises(TimeoutError, match="no answer"):
        worker.call(lambda: None, timeout=0.05)
    while worker.submit(lambda: None):
        pass
    with pytest.raises(TimeoutError, match="busy"):
        worker.call(lambda: None, timeout=0.05)
    worker.stop()
    hang.set()
