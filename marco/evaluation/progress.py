"""The progress of an evaluation outside of training: which task, how far, how long still."""

from __future__ import annotations

from types import TracebackType

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from marco.tracking.console import console


class ProgressBar:
    """A bar for the task under way, on terminals; called as the sweep reports progress."""

    def __init__(self) -> None:
        screen = console()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=screen,
            expand=True,
            refresh_per_second=4,
            transient=True,
            disable=not screen.is_terminal or screen.is_dumb_terminal,
        )
        self._task = self._bar.add_task("evaluating", total=None)
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
            self._bar.reset(self._task, total=total, description=f"evaluating {name}")
        self._bar.update(self._task, completed=done, total=total)
