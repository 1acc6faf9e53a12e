"""Preference losses and their gradients beside TRL's, on the same pairs and weights.

    python -m bench.preference

TRL is no dependency: `pip install trl==1.16.0` (other versions name things otherwise). A row for
each loss: both losses, and the largest difference of a gradient, relative to the largest entry of
that parameter's. DPO and IPO are those of TRL's DPOTrainer; conservative DPO, SimPO and ORPO come
from the loss functions of its CPOTrainer and ORPOTrainer. ORPO's likelihood is the chosen answer's
average on both sides, where ORPOTrainer averages over all tokens of the batch, prompts included.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from marco.data.batches import Cut, MicroBatch, MixedBatches
from marco.data.stores import MemoryStore, Source
from marco.mixing import MixSchedule, QuotaOrder, Segment
from marco.models import QwenModel
from marco.objectives.causal_lm import CausalLanguageModel
from marco.objectives.pair_loss import PairLoss
from marco.objectives.preference_settings import Dpo, Ipo, Orpo, Preference, SimPo
from marco.objectives.reference import ReferenceTable

END, ROWS, LENGTH, PAIRS = 0, 512, 256, 16
BETA, SMOOTHING, GAMMA = 0.3, 0.1, 0.5


def main() -> None:
    """Print the table."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    sides = drawn_sides()
    policy, reference = network(1), network(2)
    known = log_probs(reference, sides)[0].detach()
    theirs = partial(dpo_trainer, reference, sides)
    cases: list[tuple[str, Preference, Callable[[PreTrainedModel], Tensor]]] = [
        ("DPO", Dpo(BETA), partial(theirs, "sigmoid")),
        ("DPO, averages", Dpo(BETA, length_normalisation=True), partial(theirs, "sigmoid_norm")),
        ("DPO, label smoothing", Dpo(BETA, SMOOTHING), partial(smoothed_dpo, known, sides)),
        ("IPO", Ipo(BETA), partial(theirs, "ipo")),
        ("SimPO", SimPo(BETA, SMOOTHING, GAMMA), partial(simpo, sides)),
        ("ORPO", Orpo(BETA), partial(orpo, sides)),
    ]
    print(f"{'':<22}{'marco':>12}{'TRL':>12}{'gradient':>12}")
    for name, settings, other in cases:
        ours, own = with_gradients(policy, partial(marco, settings, known, sides))
        loss, gradients = with_gradients(policy, other)
        apart = max(
            float((own[key] - value).abs().max() / value.abs().max())
            for key, value in gradients.items()
        )
        print(f"{name:<22}{ours:>12.6f}{loss:>12.6f}{apart:>12.1e}")


def drawn_sides() -> list[tuple[list[int], int]]:
    """(tokens, of which the first are the prompt) of all chosen sides, then all rejected ones."""
    draw = np.random.default_rng(0)
    chosen, rejected = [], []
    for _ in range(PAIRS):
        prompt = [END, *draw.integers(1, ROWS, draw.integers(1, 20)).tolist()]
        for sides in (chosen, rejected):
            answer = draw.integers(1, ROWS, draw.integers(1, 50)).tolist()
            sides.append(([*prompt, *answer, END], len(prompt)))
    return chosen + rejected


def network(seed: int) -> PreTrainedModel:
    """A small Qwen2, its weights so large that answers differ by more than a rounding error."""
    settings = QwenModel("qwen2", 64, 128, 2, 4, 2, LENGTH, True, vocab_size=ROWS)
    model = settings.build(ROWS, seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def with_gradients(
    model: PreTrainedModel, loss: Callable[[PreTrainedModel], Tensor]
) -> tuple[float, dict[str, Tensor]]:
    """The loss, and a copy of every parameter's gradient."""
    model.zero_grad()
    value = loss(model)
    value.backward()
    return value.item(), {name: p.grad.clone() for name, p in model.named_parameters()}


def marco(
    settings: Preference, known: Tensor, sides: list[tuple[list[int], int]], model: PreTrainedModel
) -> Tensor:
    """Packed rows, the fused loss, the objective."""
    tokens: list[int] = []
    targets: list[bool] = []
    ends: list[int] = []
    for pair in zip(sides[:PAIRS], sides[PAIRS:], strict=True):
        for side, prompt in pair:  # the end-of-text before a side is the last one's
            tokens += side[1:]
            targets += [place >= prompt for place in range(1, len(side))]
        ends.append(len(tokens))
    store = MemoryStore(np.array(tokens, np.int32), np.array(ends), np.array(targets))
    batch = packed(Source("eng", "eng", store, END))
    objective = PairLoss(settings)
    objective.reference = ReferenceTable([store], [known.view(2, PAIRS).T])
    root = CausalLanguageModel(model, ROWS, "torch")
    losses = root(batch["input_ids"], batch["position_ids"], batch["labels"])
    return objective(losses, batch)[0] / batch["total_pieces"]


def packed(source: Source) -> MicroBatch:
    """All pairs of a source, once, as training serves them."""
    rows = 1
    while True:
        schedule = MixSchedule((Segment("", 1 << 20, {"eng": 1.0}, {"eng": 1.0}),))
        batch = next(
            iter(
                MixedBatches(
                    [source],
                    partial(QuotaOrder, schedule, LENGTH),
                    length=LENGTH,
                    pack="best_fit",
                    cut=Cut(rows, rows),
                    seed=0,
                    steps=1,
                    token_bytes=np.ones(ROWS, np.int64),
                )
            )
        )
        if batch["total_pieces"] == PAIRS:
            return batch
        rows += 1


def padded(sides: list[tuple[list[int], int]]) -> dict[str, Tensor]:
    """TRL's batch: right-padded, the chosen sides first."""
    longest = max(len(tokens) for tokens, _ in sides)
    ids, seen, answer = (torch.zeros(len(sides), longest, dtype=torch.int64) for _ in range(3))
    for row, (tokens, prompt) in enumerate(sides):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        seen[row, : len(tokens)] = 1
        answer[row, prompt : len(tokens)] = 1
    return {"input_ids": ids, "attention_mask": seen, "completion_mask": answer}


def log_probs(model: PreTrainedModel, sides: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    """Sums and averages over the answers, [2 * pairs], as ORPOTrainer takes them from logits."""
    from trl.experimental.orpo import ORPOTrainer

    batch = padded(sides)
    logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    sums = ORPOTrainer.get_batch_logps(logits, labels)
    return sums, ORPOTrainer.get_batch_logps(logits, labels, average_log_prob=True)


def cpo(scores: Tensor, loss_type: str, gamma: float) -> Tensor:
    """CPOTrainer's loss of scores, chosen first."""
    from trl.experimental.cpo import CPOTrainer

    trainer = SimpleNamespace(
        alpha=0.0,
        beta=BETA,
        label_smoothing=SMOOTHING,
        loss_type=loss_type,
        simpo_gamma=gamma,
        accelerator=SimpleNamespace(device="cpu"),
    )
    losses, _, _ = CPOTrainer.cpo_loss(trainer, *scores.chunk(2))
    return losses.mean()


def smoothed_dpo(
    known: Tensor, sides: list[tuple[list[int], int]], model: PreTrainedModel
) -> Tensor:
    """CPO's smoothed sigmoid of log-ratios."""
    return cpo(log_probs(model, sides)[0] - known, "sigmoid", 0.0)


def simpo(sides: list[tuple[list[int], int]], model: PreTrainedModel) -> Tensor:
    """CPOTrainer's SimPO."""
    return cpo(log_probs(model, sides)[1], "simpo", GAMMA)


def orpo(sides: list[tuple[list[int], int]], model: PreTrainedModel) -> Tensor:
    """ORPOTrainer's odds ratio, beside the chosen answers' likelihood."""
    from trl.experimental.orpo import ORPOTrainer

    averages = log_probs(model, sides)[1]
    trainer = SimpleNamespace(beta=BETA, accelerator=SimpleNamespace(device="cpu"))
    weighted, *_ = ORPOTrainer.odds_ratio_loss(trainer, *averages.chunk(2))
    return -averages[:PAIRS].mean() - weighted.mean()


def dpo_trainer(
    reference: PreTrainedModel,
    sides: list[tuple[list[int], int]],
    loss_type: str,
    model: PreTrainedModel,
) -> Tensor:
    """DPOTrainer's own loss of a batch."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    from marco.data.udhr import Udhr
    from marco.tokenizers.embedded import EmbeddedTokenizer

    tokenizer = EmbeddedTokenizer(ROWS - 1).load(Udhr(["eng"]).load())  # unused, but wanted
    with tempfile.TemporaryDirectory() as folder:
        trainer = DPOTrainer(
            model,
            reference,
            args=DPOConfig(
                folder, beta=BETA, loss_type=loss_type, use_cpu=True, bf16=False, report_to="none",
                gradient_checkpointing=False, max_length=None, disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}]),
            processing_class=tokenizer.transformers(),
        )  # fmt: skip
        return trainer.compute_loss(trainer.model, padded(sides))


if __name__ == "__main__":
    main()
