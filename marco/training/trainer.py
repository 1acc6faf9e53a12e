"""What a trainer config may say, and the Lightning trainer it becomes. No torch at import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from marco.errors import ConfigError

if TYPE_CHECKING:
    import pytorch_lightning as pl


@dataclass(frozen=True)
class TrainerSettings:
    """Devices, precision and parallelism.

    Attributes:
        accelerator: `auto` takes a GPU where there is one.
        devices: processes, each with its own device, on this machine.
        strategy: `single`, `ddp` (replicas) or `fsdp2` (sharded weights, gradients, moments).
        precision: `fp32`; `bf16-autocast` (fp32 weights, bf16 products); `bf16-master` (bf16
            weights and gradients, fp32 masters in the optimizer).
        num_workers: loader processes per training process; 0 loads in the training process.
        threads: CPU threads for torch in each process; null takes `OMP_NUM_THREADS`, else
            shares the cores out evenly.
        keep_pages: tell glibc to keep freed blocks instead of returning them to the system;
            faster on a CPU, at the price of some memory.
        gradient_checkpointing: recompute activations in the backward: each layer's (`true`), or
            every other layer's (`selective`: half of the memory saved, for half of the time).
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: int = 1
    strategy: Literal["single", "ddp", "fsdp2"] = "single"
    precision: Literal["fp32", "bf16-autocast", "bf16-master"] = "bf16-autocast"
    num_workers: int = 0
    threads: int | None = None
    keep_pages: bool = True
    gradient_checkpointing: bool | Literal["selective"] = False

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise ConfigError(f"trainer.devices={self.devices} must be at least 1.")
        if self.num_workers < 0:
            raise ConfigError(f"trainer.num_workers={self.num_workers} is negative.")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"trainer.threads={self.threads} must be at least 1, or null.")
        if self.devices > 1 and self.strategy == "single":
            raise ConfigError(
                f"trainer.devices={self.devices} needs trainer.strategy=ddp or fsdp2."
            )

    def check(self) -> None:
        """Raise ConfigError where the machine lacks what is asked for. Imports torch if it must."""
        if self.accelerator == "cpu" or (self.accelerator == "auto" and self.devices == 1):
            return
        import torch

        there = torch.cuda.device_count()
        if there < self.devices and (there or self.accelerator == "gpu"):
            raise ConfigError(
                f"trainer.devices={self.devices}: this machine has {there} GPUs "
                "(trainer.accelerator=cpu does without)."
            )

    def lightning(
        self,
        accumulation: int,
        callbacks: Sequence[pl.Callback],
        loggers: Sequence[Any],
        folder: Path,
    ) -> pl.Trainer:
        """Return the trainer: one pass over a finite loader, no validation, no checkpoints.

        Evaluation and checkpoints are callbacks of ours; Lightning's own are switched off.
        Callbacks that write files of their own put them into `folder`.
        """
        import pytorch_lightning as pl
        import torch
        from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy

        accelerator = self.accelerator
        if accelerator == "auto":
            accelerator = "gpu" if torch.cuda.is_available() else "cpu"
        strategy: Any = "auto"
        if self.strategy == "ddp":
            strategy = DDPStrategy(gradient_as_bucket_view=True)
        elif self.strategy == "fsdp2":
            strategy = ModelParallelStrategy(
                data_parallel_size=self.devices, tensor_parallel_size=1
            )
        return pl.Trainer(
            accelerator=accelerator,
            devices=self.devices,
            strategy=strategy,
            precision="bf16-mixed" if self.precision == "bf16-autocast" else "32-true",
            max_epochs=1,
            accumulate_grad_batches=accumulation,
            callbacks=list(callbacks),
            logger=list(loggers),
            default_root_dir=folder,
            enable_checkpointing=False,
            enable_progress_bar=any(isinstance(c, pl.callbacks.ProgressBar) for c in callbacks),
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            deterministic="warn",
        )
