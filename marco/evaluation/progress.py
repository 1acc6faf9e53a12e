"""The progress of preparing tasks, and of an evaluation outside of training."""

from __future__ import annotations

import os
from types import TracebackType

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from marco.tracking.console import console


class ProgressBar:
    """A bar for the task under way, on terminals; called as the sweep reports progress.

    Args:
        doing: what is done to the task.
    """

    def __init__(self, doing: str = "evaluating") -> None:
        screen = console()
        self._doing = doing
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=screen,
            expand=True,
            refresh_per_second=4,
            transient=True,
            disable=not screen.is_terminal
            or screen.is_dumb_terminal
            or os.environ.get("RANK", "0") != "0",
        )
        self._task = self._bar.add_task(doing, total=None)
        self._name = ""

    def __enter__(self) -> ProgressBar:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def __call__(self, name: str, done: int, total: int) -> None:
        """Show that ``done`` of ``total`` of the task ``name`` is done."""
        if name != self._name:
            self._name = name
            self._bar.reset(self._task, total=total, description=f"{self._doing} {name}")
        self._bar.update(self._task, completed=done, total=total)
