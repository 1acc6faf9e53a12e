"""The progress bars: the budget with loss, speed and time left; the stage; the evaluation."""

from __future__ import annotations

import logging
from collections import deque
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from marco.tracking.clock import TrainingClock
from marco.tracking.console import console
from marco.tracking.protocol import TrackedModule

log = logging.getLogger(__name__)

WINDOW = 20  # optimizer steps that the shown speed is a mean of
WIDE = 110  # columns from which the bar has room for all it knows, in words


def short_count(count: float) -> str:
    """Return 950, 12.3k, 4.56M, 1.20B."""
    for size, letter, digits in ((1e9, "B", 2), (1e6, "M", 2), (1e3, "k", 1)):
        if count >= size:
            return f"{count / size:.{digits}f}{letter}"
    return f"{count:.0f}"


def short_time(seconds: float) -> str:
    """Return 0:42, 12:05, 3:07:09."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class TokenProgress(ProgressBar):  # type: ignore[misc]
    """A bar for the whole training; a line every ten percent where stdout is not a terminal.

    A mix with stages has a second bar, for the stage, whose start is a line of the log. While the
    model is evaluated a bar shows how far the task under way is.

    Other output belongs on ``marco.tracking.console.console()``, which keeps it above the bar;
    plain ``print`` is redirected there while the bar is shown. The speed and the time left are of
    training alone: pauses (``marco.tracking.pauses``) are named in the bar and not counted. Colours
    follow ``NO_COLOR``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._clock = TrainingClock()
        self._points: deque[tuple[float, int]] = deque(maxlen=WINDOW + 1)  # seconds, tokens
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._stage_task: TaskID | None = None
        self._evaluation_task: TaskID | None = None
        self._stage: str | None = None
        self._next_percent = 0
        self._position = ""
        self._training_status = ""

    def disable(self) -> None:
        """Show nothing from now on (Lightning calls it on ranks other than 0)."""
        self._enabled = False
        self._close()

    def enable(self) -> None:
        """Show the training that starts next."""
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        console().print(*args, **kwargs)

    def pause_training(self, reason: str) -> None:
        """Say what the training waits for."""
        self._clock.stop()
        if self._bar is not None:
            # a reason is longer than "training": only the position fits beside it
            status = self._position
            self._bar.update(self._task, description=reason, status=status, refresh=True)

    def evaluation_progress(self, task: str, done: int, total: int) -> None:
        """Show how far the evaluation of a task is, until training goes on."""
        if self._bar is None:
            return
        if self._evaluation_task is None:
            self._evaluation_task = self._bar.add_task(task, status="")
        self._bar.update(
            self._evaluation_task, description=f"  {task}", total=max(total, 1), completed=done
        )

    def resume_training(self) -> None:
        """Training goes on."""
        if self._bar is not None and self._evaluation_task is not None:
            self._bar.remove_task(self._evaluation_task)
        self._evaluation_task = None
        if self._points:
            self._clock.start()
        if self._bar is not None:
            status = self._training_status
            self._bar.update(self._task, description="training", status=status, refresh=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show where the training starts: at 0, or where it was resumed."""
        module: TrackedModule = pl_module
        self._points.clear()
        self._points.append((self._clock.seconds, module.tokens_seen))
        self._clock.start()
        self._stage = None
        if not self._enabled:
            return
        screen = console()
        if screen.is_terminal and not screen.is_dumb_terminal:
            self._bar = Progress(
                SpinnerColumn(finished_text=" "),
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.percentage:3.0f} %  {task.fields[status]}"),
                console=screen,
                expand=True,
                refresh_per_second=4,
            )
            self._task = self._bar.add_task(
                "training",
                total=module.total_tokens,
                completed=module.tokens_seen,
                status="",
            )
            if module.stages:
                self._stage_task = self._bar.add_task("stage", total=None, status="")
            self._bar.start()
            self._show(module)
        else:
            self._next_percent = 10 * (self._percent(module) // 10 + 1)
            verb = "resumed at" if module.step else "training from"
            screen.print(f"{verb} {self._line(module)}", soft_wrap=True)
            self._show_stage(module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Move the bar after an optimizer step."""
        module: TrackedModule = pl_module
        if not module.at_boundary:
            return
        self._points.append((self._clock.seconds, module.tokens_seen))
        if self._bar is not None:
            self._show(module)
            return
        if not self._enabled:
            return
        self._show_stage(module)
        if self._percent(module) >= self._next_percent:
            self._next_percent = 10 * (self._percent(module) // 10 + 1)
            console().print(self._line(module), soft_wrap=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hold the clock; the bar stays for the final evaluation, until ``teardown``."""
        self._clock.stop()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Leave the bar, so that the message is not overwritten by it."""
        self._close()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the bar as it is and go below it."""
        self._close()

    def _close(self) -> None:
        self._clock.stop()
        self._points.clear()
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._stage_task = self._evaluation_task = None

    def _show(self, module: TrackedModule) -> None:
        assert self._bar is not None
        self._position = _position(module)
        self._training_status = self._status(module, console().width)
        self._bar.update(self._task, completed=module.tokens_seen, status=self._training_status)
        self._show_stage(module)

    def _show_stage(self, module: TrackedModule) -> None:
        """Show how far the mix's stage is; a stage that begins is a line of the log."""
        start = 0
        for name, end in module.stages:
            if module.tokens_seen < end or (name, end) == module.stages[-1]:
                break
            start = end
        else:
            return
        done, total = module.tokens_seen - start, end - start
        if name != self._stage:
            self._stage = name
            log.info("Stage %s: %s tokens", name, f"{total:,}")
        if self._bar is not None and self._stage_task is not None:
            status = f"{short_count(done)}/{short_count(total)}"
            self._bar.update(
                self._stage_task, description=name, total=total, completed=done, status=status
            )

    def _speed(self) -> float | None:
        """Tokens per second over the last steps; None before there is a step to measure."""
        if len(self._points) < 2:
            return None
        (start, first), (end, last) = self._points[0], self._points[-1]
        return (last - first) / (end - start) if end > start else None

    def _status(self, module: TrackedModule, width: int = WIDE) -> str:
        """Return position, loss, speed, time left: what ``width`` columns have room for."""
        words = width >= WIDE
        parts = [_position(module) + (" tokens" if words else "")]
        if words:
            parts.append(f"step {module.step:,}")
        if "train/loss" in module.last_metrics:
            parts.append(f"loss {module.last_metrics['train/loss']:.3f}")
        speed = self._speed()
        if speed:
            left = max(module.total_tokens - module.tokens_seen, 0) / speed
            parts.append(f"{short_count(speed)} {'tokens' if words else 'tok'}/s")
            parts.append(f"{short_time(left)} left")
        return " · ".join(parts)

    def _percent(self, module: TrackedModule) -> int:
        return int(100 * module.tokens_seen / module.total_tokens) if module.total_tokens else 100

    def _line(self, module: TrackedModule) -> str:
        return f"{self._percent(module):3d} % · {self._status(module)}"


def _position(module: TrackedModule) -> str:
    return f"{short_count(module.tokens_seen)}/{short_count(module.total_tokens)}"
