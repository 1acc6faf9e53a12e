"""The LightningModule: one micro-batch in, gradients of the global batch out.

Its arithmetic is in `linear_cross_entropy`, `Schedule.factor`, `global_norm`; what is here is the
order of things, and the counters that callbacks, loggers and checkpoints read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from marco.data.batches import Cut, MicroBatch
from marco.data.streams import TokenStream
from marco.errors import TrainingError
from marco.objectives.causal_lm import CausalLanguageModel
from marco.training.checkpoint import load
from marco.training.context import RunContext
from marco.training.gradients import global_norm, gradients_of, scale_gradients
from marco.training.optimizers import AdamW
from marco.training.parallel import shard
from marco.training.schedules import Schedule


class MarcoModule(pl.LightningModule):  # type: ignore[misc]
    """Trains a root module whose forward returns per-token losses.

    Attributes read by callbacks:
        step: optimizer steps done. tokens_seen: tokens of these steps, over all processes.
        total_tokens: the budget, in whole steps. at_boundary: the last micro-batch ended a step.
        counters: sequences served per language, in the order of `languages`.
        last_metrics: `train/loss`, `train/gradient_norm`, `train/learning_rate` of the last step.
        language_losses: mean training loss of each language in the last step, in nats per token.
        rows: (language, draw) of every sequence this process saw in the current step.
    """

    def __init__(
        self,
        model: CausalLanguageModel,
        *,
        streams: Sequence[TokenStream],
        optimizer: AdamW,
        schedule: Schedule,
        cut: Cut,
        length: int,
        total_steps: int,
        flops_per_token: float,
        context: RunContext,
    ) -> None:
        super().__init__()
        self.model = model
        self.context = context
        self.languages = [stream.language for stream in streams]
        self.stream_sizes = [len(stream) for stream in streams]
        self.optimizer_settings = optimizer
        self.schedule = schedule
        self.cut = cut
        self.length = length
        self.total_steps = total_steps
        self.flops_per_token = flops_per_token
        self.step = 0
        self.counters = [0] * len(streams)
        self.at_boundary = False
        self.last_metrics: dict[str, float] = {}
        self.language_losses: dict[str, float] = {}
        self.rows: list[tuple[str, int]] = []
        self._sums: Tensor | None = None  # [2, languages] float64: loss, targets of this step
        self._measured = False

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimizer step, over all processes."""
        return self.cut.sequences * self.length

    @property
    def tokens_seen(self) -> int:
        """Tokens trained on so far, over all processes."""
        return self.step * self.tokens_per_step

    @property
    def total_tokens(self) -> int:
        """The budget in tokens, cut to whole steps."""
        return self.total_steps * self.tokens_per_step

    @property
    def world_size(self) -> int:
        """Data-parallel processes."""
        return self.cut.world_size

    @property
    def language_tokens(self) -> dict[str, int]:
        """Tokens served per language."""
        served = [count * self.length for count in self.counters]
        return dict(zip(self.languages, served, strict=True))

    @property
    def language_epochs(self) -> dict[str, float]:
        """How often each language's training text was seen."""
        tokens = self.language_tokens
        sizes = zip(self.languages, self.stream_sizes, strict=True)
        return {language: tokens[language] / size for language, size in sizes}

    @property
    def finished(self) -> bool:
        """Whether the whole budget is spent."""
        return self.step >= self.total_steps

    @property
    def interrupted(self) -> bool:
        """Whether somebody asked the run to stop."""
        return self.context.interrupt.number != 0

    def configure_model(self) -> None:
        """Shard the model where the strategy asks for it (FSDP2)."""
        if self.device_mesh is not None:
            shard(self.model, self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> Optimizer:
        """The optimizer; its learning rate is set before every step, from the config alone."""
        return self.optimizer_settings.build(self.model)

    def progress(self) -> dict[str, Any]:
        """What a checkpoint keeps besides tensors: plain JSON."""
        served = dict(zip(self.languages, self.counters, strict=True))
        return {
            "step": self.step,
            "counters": served,
            "last_metrics": self.last_metrics,
            "choices": self.context.choices,
            "corpus": self.context.corpus_fingerprint,
        }

    def restore_progress(self, progress: dict[str, Any]) -> None:
        """Go on counting from a checkpoint's `progress`."""
        self.step = progress["step"]
        self.last_metrics = progress["last_metrics"]
        self.counters = [progress["counters"][language] for language in self.languages]

    def on_fit_start(self) -> None:
        """Read the checkpoint that is continued, now that shards and optimizer are in place."""
        if self.context.resume_from is not None:
            loaded = load(
                self.context.resume_from,
                model=self.model,
                optimizer=self.trainer.optimizers[0],
                tokenizer_fingerprint=self.context.tokenizer_fingerprint,
            )
            if not loaded.rng_restored:
                seed = self.context.config["seed"] + self.step * self.world_size + self.global_rank
                pl.seed_everything(seed % 2**32, verbose=False)

    def learning_rate(self, step: int) -> float:
        """Learning rate of optimizer step `step` (from 0): the schedule at the step's middle."""
        return self.optimizer_settings.lr * self.schedule.factor((step + 0.5) / self.total_steps)

    def on_train_batch_start(self, batch: MicroBatch, batch_idx: int) -> None:
        """Forget the last step's rows when a new one begins."""
        if self.at_boundary:
            self.rows = []
        self.at_boundary = False

    def training_step(self, batch: MicroBatch, batch_idx: int) -> Tensor:
        """Return the loss whose gradients, as Lightning sums and averages them, are right.

        The mean is over the *global* number of targets; the factor undoes Lightning's division
        by the accumulation and the strategy's averaging over data-parallel processes.
        """
        scale = self.cut.accumulation * self.cut.world_size / batch["target_tokens"]
        inputs = batch["input_ids"], batch["position_ids"], batch["labels"]
        some_ignored = batch["target_tokens"] < self.tokens_per_step
        losses: Tensor = self.model(*inputs, upstream=scale, some_ignored=some_ignored)
        self._count(losses.detach(), batch)
        return losses.sum() * scale

    def _count(self, losses: Tensor, batch: MicroBatch) -> None:
        """Add this micro-batch to the step's loss and target count per language."""
        places = torch.arange(len(self.languages), device=losses.device)
        member = (batch["language_ids"].flatten() == places[:, None]).double()
        targets = (batch["labels"].flatten() >= 0).double()
        sums = torch.stack([member @ losses.flatten().double(), member @ targets])
        self._sums = sums if self._sums is None else self._sums + sums
        self._next_counters = batch["counters"]
        pairs = zip(batch["source"].tolist(), batch["draw"].tolist(), strict=True)
        self.rows.extend((self.languages[source], draw) for source, draw in pairs)

    def measure(self) -> dict[str, float]:
        """Loss and gradient norm of the step about to be taken; equal on every rank.

        Called once all gradients are there; further calls in the same step return the same.
        """
        if not self._measured:
            assert self._sums is not None
            sums = self._sums
            if dist.is_initialized():
                dist.all_reduce(sums)
            total, targets = sums.tolist()
            self.language_losses = {
                language: loss / count
                for language, loss, count in zip(self.languages, total, targets, strict=True)
                if count
            }
            norm = global_norm(gradients_of(self.parameters()))
            self._norm = norm
            self.last_metrics = {
                "train/loss": sum(total) / sum(targets),
                "train/gradient_norm": float(norm),
                "train/learning_rate": self.learning_rate(self.step),
            }
            self._measured = True
        return self.last_metrics

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Refuse a step that is not a number; clip by the global norm."""
        metrics = self.measure()
        gradients = gradients_of(self.parameters())
        if not gradients:  # a callback threw the step away
            return
        for key in ("train/loss", "train/gradient_norm"):
            if not math.isfinite(metrics[key]):
                raise TrainingError(f"{key} is {metrics[key]} in step {self.step + 1}.")
        if self.optimizer_settings.clip_norm is not None:
            scale_gradients(gradients, self._norm, self.optimizer_settings.clip_norm)

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """One step at the config's learning rate; counts it."""
        for group in optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        optimizer.step(closure=optimizer_closure)
        self.step += 1
        self.counters = self._next_counters.tolist()
        self.at_boundary = True
        self._sums = None
        self._measured = False
