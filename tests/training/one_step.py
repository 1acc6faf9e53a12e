"""One optimizer step of a tiny run, cut in any way; writes its gradient. A script and a module.

python one_step.py OUT.safetensors STRATEGY MICRO_SEQUENCES
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor
from torch.utils.data import DataLoader

from marco.data.batches import Cut, MixedBatches
from marco.data.ledger import FIELDS
from marco.data.stores import MemoryStore, Source
from marco.mixing import MixSchedule, QuotaOrder, Segment
from marco.models import QwenModel
from marco.objectives.causal_lm import CausalLanguageModel
from marco.training.context import RunContext
from marco.training.launch import launch
from marco.training.module import MarcoModule
from marco.training.optimizers import AdamW
from marco.training.schedules import Constant
from marco.training.trainer import TrainerSettings

SEQUENCES, LENGTH, END = 8, 24, 0


def sources() -> list[Source]:
    """Three languages of random tokens, of very different sizes."""
    generator = np.random.default_rng(0)
    found = []
    for language, size in (("eng", 400), ("swh", 37), ("tha", 150)):
        tokens = generator.integers(1, 60, size).astype(np.int32)
        tokens[:: -max(2, size // 9)] = END
        store = MemoryStore(tokens, np.flatnonzero(tokens == END) + 1)
        found.append(Source(language, language, store, END, size))
    return found


class MaskedBatches(MixedBatches):
    """Ignores a different number of labels in every sequence, so that target counts differ."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        masked = [LENGTH - 1 - 3 * (place % 7) for place in range(SEQUENCES)]
        for number, batch in enumerate(super().__iter__()):
            rows = range(SEQUENCES)[self.cut.rows(number % self.cut.accumulation)]
            for row, place in enumerate(rows):
                batch["labels"][row, masked[place] :] = -100
                batch["counts"][row, FIELDS.index("target_tokens")] = masked[place]
            batch["target_tokens"] = sum(masked)
            yield batch


class Capture(pl.Callback):
    """Keeps the gradient, whole and in fp32, as it is before clipping."""

    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:  # type: ignore[no-untyped-def]
        for name, parameter in pl_module.model.named_parameters():
            gradient = parameter.grad
            if isinstance(gradient, DTensor):
                gradient = gradient.full_tensor()
            self.gradients[name] = gradient.detach().clone()


def gradient(
    settings: TrainerSettings, micro_sequences: int, folder: Path
) -> tuple[dict[str, torch.Tensor], MarcoModule]:
    """Train one step and return its gradient and the module."""
    model = QwenModel(
        architecture="qwen2",
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    ).build(60, seed=5)
    cut = Cut(SEQUENCES, micro_sequences, int(os.environ.get("RANK", "0")), settings.devices)
    module = MarcoModule(
        CausalLanguageModel(model, 60),
        sources=sources(),
        optimizer=AdamW(lr=1e-3, clip_norm=0.1),
        schedule=Constant(),
        cut=cut,
        length=LENGTH,
        total_steps=1,
        flops_per_token=1.0,
        context=RunContext(folder, {"seed": 0}, "none", "none"),
    )
    equal = dict.fromkeys(("eng", "swh", "tha"), 1 / 3)
    schedule = MixSchedule((Segment("", SEQUENCES * LENGTH, equal, equal),))
    batches = MaskedBatches(
        sources(),
        partial(QuotaOrder, schedule, LENGTH),
        length=LENGTH,
        cut=cut,
        seed=3,
        steps=1,
        token_bytes=np.ones(60, np.int64),
    )
    capture = Capture()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    trainer = settings.lightning(cut.accumulation, [capture], [], folder)
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return capture.gradients, module


def work(folder: Path) -> int:
    """What each process does; its arguments come through the environment."""
    strategy, micro = os.environ["ONE_STEP"].split(",")
    settings = TrainerSettings("cpu", 2, strategy, "fp32")  # type: ignore[arg-type]
    gradients, module = gradient(settings, int(micro), folder)
    if module.cut.rank == 0:
        norm = torch.tensor(module.last_metrics["train/gradient_norm"])
        loss = torch.tensor(module.last_metrics["train/loss"])
        save_file({**gradients, "norm": norm, "loss": loss}, folder / "gradient.safetensors")
    return 0


if __name__ == "__main__":
    os.environ["ONE_STEP"] = f"{sys.argv[2]},{sys.argv[3]}"
    raise SystemExit(launch(work, Path(sys.argv[1]), devices=2))
