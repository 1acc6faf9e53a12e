from __future__ import annotations

import pytest

from marco.tracking.clock import TrainingClock
from marco.tracking.console import console
from marco.tracking.pauses import training_paused


def test_clock_counts_only_while_it_runs() -> None:
    now = [100.0]
    clock = TrainingClock(lambda: now[0])
    now[0] += 5
    assert clock.seconds == 0
    clock.start()
    now[0] += 2
    clock.start()
    now[0] += 1
    clock.stop()
    now[0] += 50
    clock.stop()
    assert (clock.seconds, clock.running) == (3, False)
    clock.start()
    clock.restore(10)
    now[0] += 4
    assert (clock.seconds, clock.running) == (14, True)


class Bar:
    def __init__(self) -> None:
        self.events: list[str] = []

    def pause_training(self, reason: str) -> None:
        self.events.append(reason)

    def resume_training(self) -> None:
        self.events.append("on")


def test_a_pause_ends_with_an_error_too() -> None:
    bar = Bar()
    with pytest.raises(OSError, match="disk"), training_paused([object(), bar], "saving"):
        raise OSError("disk")
    assert bar.events == ["saving", "on"]


def test_one_console() -> None:
    assert console() is console()
