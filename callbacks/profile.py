"""Where the time of a training step goes: ``torch.profiler`` over a few optimizer steps."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile

from marco.errors import ConfigError
from marco.tracking.console import console
from marco.tracking.protocol import TrackedModule

log = logging.getLogger(__name__)

TABLE_NAME = "top_operations.txt"
TRACE_NAME = "trace.json"


class Profile(Callback):  # type: ignore[misc]
    """Profiles ``steps`` optimizer steps after ``warmup_steps`` and writes what it saw.

    ``<run folder>/profile/top_operations.txt`` lists the operations by their own time, and
    ``trace.json`` opens in Perfetto or chrome://tracing. Rank 0 only. The profiled steps are
    slower than others; their losses are the same.

    Args:
        warmup_steps: optimizer steps of this process before, for compilation and caches.
        steps: optimizer steps to profile.
        rows: operations in the table.
        folder: where to write; None is ``profile`` in the trainer's ``default_root_dir``.
    """

    def __init__(
        self,
        warmup_steps: int = 3,
        steps: int = 3,
        rows: int = 30,
        folder: str | None = None,
    ) -> None:
        super().__init__()
        for key, value, least in (("warmup_steps", warmup_steps, 0), ("steps", steps, 1)):
            if value < least:
                raise ConfigError(f"callbacks.profile.{key}={value}: at least {least}")
        self.warmup_steps = warmup_steps
        self.steps = steps
        self.rows = rows
        self.folder = folder
        self._first_step = 0
        self._profiler: profile | None = None
        self._done = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember where this process starts: a resumed run warms up again."""
        module: TrackedModule = pl_module
        self._first_step = module.step + self.warmup_steps
        self._done = not trainer.is_global_zero

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start when the warm-up is over."""
        module: TrackedModule = pl_module
        if self._done or self._profiler is not None or module.step < self._first_step:
            return
        # its C++ part writes to the terminal's stderr, through the progress bar
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")
        activities = [ProfilerActivity.CPU]
        if torch.cuda.is_available():
            activities.append(ProfilerActivity.CUDA)
        self._profiler = profile(activities=activities, record_shapes=True)
        self._profiler.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Stop and write after the last profiled step."""
        module: TrackedModule = pl_module
        if module.at_boundary and module.step >= self._first_step + self.steps:
            self._finish(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what there is when the training was shorter; say so when it was too short."""
        if self._profiler is None and not self._done:
            log.warning("nothing was profiled: the training ended within its warm-up steps")
        self._finish(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Let go of the profiler: its hooks are global."""
        if self._profiler is not None:
            self._profiler.stop()
            self._profiler = None
        self._done = True

    def _finish(self, trainer: Trainer) -> None:
        if self._profiler is None:
            return
        profiler, self._profiler, self._done = self._profiler, None, True
        profiler.stop()
        folder = Path(self.folder or Path(trainer.default_root_dir) / "profile")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            order = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
            table = profiler.key_averages().table(sort_by=order, row_limit=self.rows)
            (folder / TABLE_NAME).write_text(table, encoding="utf-8")
            profiler.export_chrome_trace(str(folder / TRACE_NAME))
        except OSError as error:
            log.warning("the profile could not be written to %s: %s", folder, error)
            return
        console().print(
            f"profile of {self.steps} steps: {folder / TABLE_NAME} (operations by their own time), "
            f"{folder / TRACE_NAME} (for https://ui.perfetto.dev)",
            soft_wrap=True,
        )
