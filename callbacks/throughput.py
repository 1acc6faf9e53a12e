"""Speed of the training: tokens a second, MFU, peak memory, seconds."""

from __future__ import annotations

import logging
import resource
import sys
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from marco.errors import ConfigError
from marco.tracking.clock import TrainingClock
from marco.tracking.devices import DEVICES, find_device
from marco.tracking.protocol import TrackedModule

log = logging.getLogger(__name__)


def peak_memory_bytes(device: torch.device) -> int:
    """Return the most memory in use so far: of the GPU's allocator, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


class Throughput(Callback):  # type: ignore[misc]
    """Logs ``train/{tokens_per_second,mfu,peak_memory_bytes,seconds}``.

    Every ``every_n_steps`` optimizer steps, over the steps since the last time. Global: all
    processes together. Evaluation and checkpoints don't count (``marco.tracking.pauses``); waiting
    for data does. MFU (model FLOPs utilisation, PaLM appendix B) is ``flops_per_token`` × tokens/s
    ÷ (devices × the device's peak bf16 FLOP/s), or absent for a device whose peak is not known,
    which is said once. The totals are in the checkpoint and go on after a resume.

    Args:
        every_n_steps: optimizer steps between two values.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        super().__init__()
        if every_n_steps < 1:
            raise ConfigError(f"callbacks.throughput.every_n_steps={every_n_steps}: at least 1")
        self.every_n_steps = every_n_steps
        self._clock = TrainingClock()
        self._tokens = 0  # trained on while the clock counted, over all resumes
        self._seen: int | None = None  # the module's count that self._tokens is up to date with
        self._logged_tokens = 0
        self._logged_seconds = 0.0
        self._peak_flops: float | None = None
        self._peak_memory = 0

    @property
    def seconds(self) -> float:
        """Seconds spent training, resumed parts included."""
        return self._clock.seconds

    @property
    def peak_memory_bytes(self) -> int:
        """Most memory in use at a step of the training (of rank 0), resumed parts included.

        On a CPU it is the process that is measured: in a sweep, the largest of its runs so far.
        """
        return self._peak_memory

    def pause_training(self, reason: str) -> None:
        """Hold the clock."""
        self._clock.stop()

    def resume_training(self) -> None:
        """Let the clock go on."""
        if self._seen is not None:
            self._clock.start()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the device's peak and start the clock."""
        device = torch.device(pl_module.device)
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
        known = find_device(name) if device.type == "cuda" else None
        self._peak_flops = known.bf16_flops if known else None
        if known is None and trainer.is_global_zero:
            names = ", ".join(entry.name for entry in DEVICES)
            log.info("no MFU: the peak FLOP/s of %r is not known (known: %s)", name, names)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        self._seen = _tracked(pl_module).tokens_seen
        self._clock.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Count the tokens of an optimizer step; log when it is due."""
        module = _tracked(pl_module)
        if not module.at_boundary or self._seen is None:
            return
        self._tokens += module.tokens_seen - self._seen
        self._seen = module.tokens_seen
        self._peak_memory = max(
            self._peak_memory, peak_memory_bytes(torch.device(pl_module.device))
        )
        if module.step % self.every_n_steps != 0:
            return
        seconds = self.seconds
        elapsed = seconds - self._logged_seconds
        speed = (self._tokens - self._logged_tokens) / elapsed if elapsed > 0 else 0.0
        metrics: dict[str, float] = {
            "tokens": module.tokens_seen,
            "train/tokens_per_second": speed,
            "train/peak_memory_bytes": self._peak_memory,
            "train/seconds": seconds,
        }
        if self._peak_flops is not None:
            peak = self._peak_flops * module.world_size
            metrics["train/mfu"] = module.flops_per_token * speed / peak
        self._logged_tokens, self._logged_seconds = self._tokens, seconds
        for logger in trainer.loggers:
            logger.log_metrics(metrics, step=module.step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock."""
        self._clock.stop()
        self._seen = None

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Stop the clock."""
        self._clock.stop()
        self._seen = None

    def state_dict(self) -> dict[str, Any]:
        """Return the totals and what was logged last."""
        return {
            "seconds": self.seconds,
            "tokens": self._tokens,
            "logged_seconds": self._logged_seconds,
            "logged_tokens": self._logged_tokens,
            "peak_memory_bytes": self._peak_memory,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a checkpoint's totals."""
        self._clock.restore(float(state_dict["seconds"]))
        self._tokens = int(state_dict["tokens"])
        self._logged_seconds = float(state_dict["logged_seconds"])
        self._logged_tokens = int(state_dict["logged_tokens"])
        self._peak_memory = int(state_dict["peak_memory_bytes"])


def _tracked(module: LightningModule) -> TrackedModule:
    tracked: TrackedModule = module
    return tracked
