"""A step or two of DPO on a tiny model, cut in any way. A script and a module.

python pair_step.py OUT STRATEGY MICRO_SEQUENCES
"""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from one_step import Capture
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from marco.data.batches import Cut, MixedBatches
from marco.data.stores import MemoryStore, Source
from marco.mixing import MixSchedule, QuotaOrder, Segment
from marco.models import QwenModel
from marco.objectives.pair_loss import PairLoss
from marco.objectives.preference_settings import Dpo
from marco.training.context import RunContext
from marco.training.launch import launch
from marco.training.module import MarcoModule
from marco.training.optimizers import AdamW
from marco.training.schedules import Constant
from marco.training.trainer import TrainerSettings

SEQUENCES, LENGTH, END, ROWS = 8, 40, 0, 60
LANGUAGES = {"eng": 30, "swh": 5, "tha": 11}


def source(language: str, pairs: int) -> Source:
    """Random pairs of 6 to 38 tokens, so that rows hold different numbers of them."""
    draw = np.random.default_rng(pairs)
    tokens: list[int] = []
    targets: list[bool] = []
    ends = []
    for _ in range(pairs):
        prompt = draw.integers(1, ROWS, draw.integers(1, 6)).tolist()
        for _ in range(2):
            answer = draw.integers(1, ROWS, draw.integers(1, 13)).tolist()
            tokens += [*prompt, *answer, END]
            targets += [False] * len(prompt) + [True] * (len(answer) + 1)
        ends.append(len(tokens))
    store = MemoryStore(np.array(tokens, np.int32), np.array(ends), np.array(targets))
    return Source(language, language, store, END, content=language)


def steps(
    settings: TrainerSettings,
    micro_sequences: int,
    folder: Path,
    *,
    count: int = 2,
    resume: Path | None = None,
) -> tuple[dict[str, torch.Tensor], MarcoModule]:
    """Train, and return the last step's gradient, its numbers, and the module."""
    network = QwenModel("qwen2", 32, 48, 2, 4, 2, 64, True, vocab_size=ROWS).build(ROWS, seed=5)
    cut = Cut(SEQUENCES, micro_sequences, int(os.environ.get("RANK", "0")), settings.devices)
    sources = [source(*item) for item in LANGUAGES.items()]
    objective = Dpo(beta=0.5)
    # A large epsilon makes Adam's step smooth in the gradient, which rounding then hardly moves.
    module = MarcoModule(
        objective.wrap(network, ROWS, "torch"),
        sources=sources,
        optimizer=AdamW(lr=1.0, eps=1.0, weight_decay=0.0, clip_norm=None),
        schedule=Constant(),
        cut=cut,
        length=LENGTH,
        total_steps=count,
        flops_per_token=1.0,
        context=RunContext(
            folder, {"seed": 0}, "none", "none", resume_from=resume, choices={"kernels": "torch"}
        ),
        objective=objective.loss(),
    )
    equal = dict.fromkeys(LANGUAGES, 1 / 3)
    schedule = MixSchedule((Segment("", count * SEQUENCES * LENGTH, equal, equal),))
    batches = MixedBatches(
        sources,
        partial(QuotaOrder, schedule, LENGTH),
        length=LENGTH,
        pack="best_fit",
        cut=cut,
        seed=3,
        steps=count,
        token_bytes=np.ones(ROWS, np.int64),
    )
    capture = Capture()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    trainer = settings.lightning(cut.accumulation, [capture], [], folder)
    trainer.fit(module, DataLoader(batches, batch_size=None))
    return {**capture.gradients, **numbers(module)}, module


def numbers(module: MarcoModule) -> dict[str, torch.Tensor]:
    """What the last step measured, and the reference."""
    assert isinstance(module.objective, PairLoss)
    assert module.objective.reference is not None
    found = {"loss": torch.tensor(module.last_metrics["train/loss"])}
    for name, values in module.language_measures.items():
        for language, value in values.items():
            found[f"{name}/{language}"] = torch.tensor(value)
    return {**found, "reference": module.objective.reference._log_probs}


def work(folder: Path) -> int:
    """What each process does; its arguments come through the environment."""
    strategy, micro = os.environ["PAIR_STEP"].split(",")
    settings = TrainerSettings("cpu", 2, strategy, "fp32")  # type: ignore[arg-type]
    found, module = steps(settings, int(micro), folder)
    if module.cut.rank == 0:
        save_file(found, folder / "found.safetensors")
    return 0


if __name__ == "__main__":
    os.environ["PAIR_STEP"] = f"{sys.argv[2]},{sys.argv[3]}"
    raise SystemExit(launch(work, Path(sys.argv[1]), devices=2))
