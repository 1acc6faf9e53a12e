"""The LightningModule: one micro-batch in, gradients of the global batch out.

Its arithmetic is in `linear_cross_entropy`, `Schedule.factor`, `global_norm`; what is here is the
order of things, and the counters that callbacks, loggers and checkpoints read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim import Optimizer

from marco.data.batches import POSITION, Cut, MicroBatch
from marco.data.ledger import FIELDS, entry
from marco.data.stores import Source
from marco.errors import CheckpointError, TrainingError
from marco.objectives.causal_lm import CausalLanguageModel
from marco.objectives.objective import Objective, TokenLoss
from marco.objectives.pair_loss import PairLoss
from marco.objectives.reference import ReferenceTable
from marco.training.checkpoint import load
from marco.training.context import RunContext
from marco.training.gradients import global_norm, gradients_of, scale_gradients
from marco.training.optimizers import AdamW
from marco.training.parallel import shard
from marco.training.reference import reference_table
from marco.training.schedules import Schedule
from marco.training.weight_average import forget


class MarcoModule(pl.LightningModule):  # type: ignore[misc]
    """Trains a root module whose forward returns per-token losses.

    Attributes read by callbacks:
        step: optimizer steps done. tokens_seen: tokens of these steps, over all processes.
        total_tokens: the budget, in whole steps. at_boundary: the last micro-batch ended a step.
        positions: where each source's data is (`marco.data.batches.POSITION`), by its name.
        served_before: sequences of each source that the run which this one branched off served.
        ledger: what was served so far, [sources, fields] (`marco.data.ledger.FIELDS`).
        last_metrics: `train/loss`, `train/gradient_norm`, `train/learning_rate` of the last step.
        stages: the mix's stages by name, with the token each ends at; none in a mix without.
        language_losses: mean training loss of each source in the last step, in nats per token, or
            per pair where the objective compares pairs.
        language_measures: likewise, what the objective measures besides: name → source → mean.
        weigh_by: the field of the ledger whose growth these means are weighed by.
        lr_scale: what a guardrail multiplies the schedule's learning rate by.
        rows: (source, draw) of every sequence this process saw in the current step.

    A source of the mix is mostly a language, and is called by its code.
    """

    def __init__(
        self,
        model: CausalLanguageModel,
        *,
        sources: Sequence[Source],
        optimizer: AdamW,
        schedule: Schedule,
        cut: Cut,
        length: int,
        total_steps: int,
        flops_per_token: float,
        context: RunContext,
        stages: Sequence[tuple[str, int]] = (),
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = objective or TokenLoss()
        self.weigh_by = self.objective.counted[0]
        self.context = context
        self.sources = list(sources)
        self.languages = [source.name for source in sources]
        self.source_languages = {source.name: source.language for source in sources}
        self.source_sizes = [len(source.store) for source in sources]
        self.source_lost = [source.lost for source in sources]
        self.optimizer_settings = optimizer
        self.schedule = schedule
        self.cut = cut
        self.length = length
        self.total_steps = total_steps
        self.flops_per_token = flops_per_token
        self.stages = stages
        self.step = 0
        self.positions = {name: [0] * len(POSITION) for name in self.languages}
        self.served_before: dict[str, int] = {}
        self.ledger = np.zeros((len(sources), len(FIELDS)), np.int64)
        self.lr_scale = 1.0
        self.at_boundary = False
        self.last_metrics: dict[str, float] = {}
        self.language_losses: dict[str, float] = {}
        self.language_measures: dict[str, dict[str, float]] = {}
        self.rows: list[tuple[str, int]] = []
        # [1 + measures + fields, sources] float64 of this step: what the objective sums, then what
        # the ledger counts
        self._sums: Tensor | None = None
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
    def ledger_entries(self) -> dict[str, dict[str, Any]]:
        """The ledger by source (`marco.data.ledger.entry`)."""
        rows = zip(self.languages, self.ledger, self.source_sizes, self.source_lost, strict=True)
        return {name: entry(counts.tolist(), size, lost) for name, counts, size, lost in rows}

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
        return {
            "step": self.step,
            "positions": self.positions,
            "served_before": self.served_before,
            "mix_changes": [asdict(change) for change in self.context.mix_changes],
            "ledger": dict(zip(self.languages, self.ledger.tolist(), strict=True)),
            "last_metrics": self.last_metrics,
            "choices": self.context.choices,
            "corpus": self.context.corpus_fingerprint,
        }

    def restore_progress(self, progress: dict[str, Any]) -> None:
        """Go on counting from a checkpoint's `progress`.

        Raises:
            CheckpointError: it is of other sources.
        """
        saved = progress["positions"]
        if set(saved) != set(self.languages):
            other = ", ".join(sorted(set(saved) ^ set(self.languages)))
            raise CheckpointError(f"The checkpoint's mix has other sources than the data: {other}.")
        self.step = progress["step"]
        self.served_before = progress.get("served_before", {})
        self.last_metrics = progress["last_metrics"]
        self.positions = {name: list(saved[name]) for name in self.languages}
        self.ledger = np.array([progress["ledger"][name] for name in self.languages], np.int64)

    def go_on_in_the_data(self, progress: dict[str, Any], same_mix: bool) -> None:
        """Serve what comes after the data of another run, whose checkpoint's `progress` it is.

        With the `same_mix` the order of sources goes on as well; another begins to count here.
        """
        served, before = progress["positions"], progress.get("served_before", {})
        if same_mix:
            self.positions, self.served_before = dict(served), dict(before)
            return
        for name in self.languages:
            draws, _, *packing = served[name]
            self.positions[name] = [0, 0, *packing]
            self.served_before[name] = before.get(name, 0) + draws

    def on_fit_start(self) -> None:
        """Read the checkpoint that is continued, now that shards and optimizer are in place."""
        if isinstance(self.objective, PairLoss) and self.objective.settings.reference:
            self.objective.reference = self._reference()
        path = self.context.resume_from or self.context.branch_from
        if path is not None:
            loaded = load(
                path,
                model=self.model,
                optimizer=self.trainer.optimizers[0],
                tokenizer_fingerprint=self.context.tokenizer_fingerprint,
                restore_rng=self.context.resume_from is not None,
            )
            if self.optimizer_settings.ema is None:
                forget(self.trainer.optimizers[0])
            if self.context.resume_from is not None and not loaded.rng_restored:
                seed = self.context.config["seed"] + self.step * self.world_size + self.global_rank
                pl.seed_everything(seed % 2**32, verbose=False)

    def _reference(self) -> ReferenceTable:
        """What the model at the run's start makes of all pairs; before any checkpoint is read."""
        weights = next(self.model.parameters())
        kernels, vocabulary = self.context.choices["kernels"], self.context.tokenizer_fingerprint
        return reference_table(
            self.model,
            self.sources,
            self.context.folder,
            length=self.length,
            rows=self.cut.micro_sequences,
            device=weights.device,
            arithmetic=f"{kernels} {self.trainer.precision} {vocabulary}",
            resumed=self.context.resume_from is not None,
            context=self.trainer.precision_plugin.train_step_context(),
        )

    def learning_rate(self, step: int) -> float:
        """Learning rate of optimizer step `step` (from 0): the schedule at the step's middle."""
        factor = self.lr_scale * self.schedule.factor((step + 0.5) / self.total_steps)
        return self.optimizer_settings.lr * factor

    def on_train_batch_start(self, batch: MicroBatch, batch_idx: int) -> None:
        """Forget the last step's rows when a new one begins."""
        if self.at_boundary:
            self.rows = []
        self.at_boundary = False

    def training_step(self, batch: MicroBatch, batch_idx: int) -> Tensor:
        """Return the loss whose gradients, as Lightning sums and averages them, are right.

        The mean is over the *global* number of targets or pairs; the factor undoes Lightning's
        division by the accumulation and the strategy's averaging over data-parallel processes.
        """
        units = max(1, self.objective.units(batch))
        scale = self.cut.accumulation * self.cut.world_size / units
        inputs = batch["input_ids"], batch["position_ids"], batch["labels"]
        some_ignored = batch["target_tokens"] < self.tokens_per_step
        upstream = scale if self.objective.per_token else None
        losses: Tensor = self.model(*inputs, upstream=upstream, some_ignored=some_ignored)
        total, of_row = self.objective(losses.view(batch["labels"].shape), batch)
        self._count(of_row, batch)
        return total * scale

    def _count(self, of_row: Tensor, batch: MicroBatch) -> None:
        """Add this micro-batch to the step's sums and counts per language."""
        places = torch.arange(len(self.languages), device=of_row.device)
        rows = (batch["source"] == places[:, None]).double()  # [sources, rows]
        sums = (rows @ torch.cat([of_row, batch["counts"].double()], dim=1)).T
        self._sums = sums if self._sums is None else self._sums + sums
        self._next_positions = batch["positions"]
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
            summed = 1 + len(self.objective.measures)
            field, each = self.objective.counted
            units = (sums[summed + FIELDS.index(field)] / each).tolist()
            self._served = sums[summed:].T.long().cpu().numpy()
            total, *measured = sums[:summed].tolist()
            self.language_losses = self._means(total, units)
            self.language_measures = {
                name: self._means(values, units)
                for name, values in zip(self.objective.measures, measured, strict=True)
            }
            norm = global_norm(gradients_of(self.parameters()))
            self._norm = norm
            self.last_metrics = {
                "train/loss": sum(total) / max(1, sum(units)),
                "train/gradient_norm": float(norm),
                "train/learning_rate": self.learning_rate(self.step),
            }
            self._measured = True
        return self.last_metrics

    def _means(self, sums: list[float], units: list[float]) -> dict[str, float]:
        named = zip(self.languages, sums, units, strict=True)
        return {language: value / count for language, value, count in named if count}

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
            group["lr"] = self.learning_rate(self.step) * group["lr_scale"]
        optimizer.step(closure=optimizer_closure)
        self.step += 1
        self.positions = dict(zip(self.languages, self._next_positions.tolist(), strict=True))
        self.ledger = self.ledger + self._served
        self.at_boundary = True
        self._sums = None
        self._measured = False
