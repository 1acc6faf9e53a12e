"""Packed pairs through the root module, against each answer alone with whole logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from marco.data.batches import Cut, MicroBatch, MixedBatches
from marco.data.stores import MemoryStore, Source
from marco.mixing import MixSchedule, QuotaOrder, Segment
from marco.models import QwenModel
from marco.objectives.causal_lm import CausalLanguageModel
from marco.objectives.pair_loss import PairLoss
from marco.objectives.preference_settings import Dpo, Ipo, Orpo, Preference, SimPo
from marco.objectives.reference import ReferenceTable

END, ROWS, LENGTH = 0, 100, 52
# (prompt, chosen, rejected) in tokens: two or one of the English pairs fit into a row, both Thai
SIZES = {"eng": [(3, 8, 5), (2, 4, 9), (4, 1, 6)], "tha": [(6, 13, 17), (1, 1, 1)]}


def pairs_of(code: str) -> list[tuple[list[int], list[int], list[int]]]:
    generator = np.random.default_rng(sum(map(ord, code)))
    return [
        tuple(generator.integers(1, ROWS, size).tolist() for size in sizes)  # type: ignore[misc]
        for sizes in SIZES[code]
    ]


def source(code: str) -> Source:
    tokens: list[int] = []
    targets: list[bool] = []
    ends: list[int] = []
    for prompt, *answers in pairs_of(code):
        for answer in answers:
            tokens += [*prompt, *answer, END]
            targets += [False] * len(prompt) + [True] * (len(answer) + 1)
        ends.append(len(tokens))
    store = MemoryStore(np.array(tokens, np.int32), np.array(ends), np.array(targets))
    return Source(code, code, store, END)


@pytest.fixture
def model() -> CausalLanguageModel:
    settings = QwenModel("qwen2", 32, 64, 2, 4, 2, 128, True, vocab_size=ROWS)
    return CausalLanguageModel(settings.build(ROWS, seed=3), ROWS)


@pytest.fixture
def batch() -> MicroBatch:
    """Every pair once or more, in rows of whole pairs."""
    sources = [source("eng"), source("tha")]
    shares = {"eng": 0.5, "tha": 0.5}
    schedule = MixSchedule((Segment("", 4 * LENGTH, shares, shares),))
    batches = MixedBatches(
        sources,
        lambda size: QuotaOrder(schedule, LENGTH, size),
        length=LENGTH,
        pack="best_fit",
        cut=Cut(4, 4),
        seed=0,
        steps=1,
        token_bytes=np.ones(ROWS, np.int64),
    )
    return next(iter(batches))


def alone(model: CausalLanguageModel, prompt: list[int], answer: list[int]) -> tuple[Tensor, int]:
    """The answer's log-probability from transformers' logits, and its tokens."""
    ids = torch.tensor([[END, *prompt, *answer, END]])
    probs = model.network(ids[:, :-1]).logits.log_softmax(-1)
    each = probs.gather(2, ids[:, 1:, None])[0, len(prompt) :, 0]
    return each.sum(), len(each)


def rows_of(batch: MicroBatch) -> list[tuple[str, int]]:
    """(language, number) of every pair of the batch, row by row."""
    found = []
    for number, pieces in zip(batch["source"].tolist(), batch["pieces"].tolist(), strict=True):
        code = ("eng", "tha")[number]
        starts = [0, *source(code).store.ends(0, 9)[:-1].tolist()]
        found += [(code, starts.index(piece)) for piece in pieces if piece >= 0]
    return found


REFERENCE = {
    "eng": torch.tensor([[-30.0, -20.0], [-18.0, -41.0], [-9.0, -33.0]]),
    "tha": torch.tensor([[-60.0, -80.0], [-9.0, -9.5]]),
}


@pytest.mark.parametrize(
    "settings",
    [
        Dpo(beta=0.2),
        Dpo(beta=0.2, label_smoothing=0.1, length_normalisation=True),
        Ipo(beta=0.2),
        Orpo(beta=0.2),
        SimPo(beta=2.0, gamma=0.5),
    ],
    ids=lambda settings: type(settings).__name__,
)
def test_packed_pairs_are_as_each_answer_alone(
    model: CausalLanguageModel, batch: MicroBatch, settings: Preference
) -> None:
    found = rows_of(batch)
    assert len(found) == batch["total_pieces"] > len(batch["source"])  # some row has several
    wanted = []
    for code, number in found:
        prompt, *answers = pairs_of(code)[number]
        scores = []
        for side, answer in enumerate(answers):
            log_prob, tokens = alone(model, prompt, answer)
            if settings.reference:
                log_prob = log_prob - REFERENCE[code][number, side]
            scores.append(log_prob / tokens if settings.averages else log_prob)
        wanted.append(settings.pair_losses(*(score[None] for score in scores)))
    expected = torch.cat(wanted).sum()
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}  # type: ignore[union-attr]
    model.zero_grad()

    objective = PairLoss(settings)
    stores = [source(code).store for code in ("eng", "tha")]
    objective.reference = ReferenceTable(stores, list(REFERENCE.values()))
    losses = model(batch["input_ids"], batch["position_ids"], batch["labels"])
    total, rows = objective(losses, batch)
    total.backward()
    torch.testing.assert_close(total, expected, rtol=1e-5, atol=1e-5)
    assert rows[:, 0].sum().item() == pytest.approx(total.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        scale = gradients[name].abs().max().item()
        torch.testing.assert_close(
            parameter.grad, gradients[name], rtol=0, atol=2e-5 * scale, msg=name
        )


def test_what_is_measured(batch: MicroBatch) -> None:
    objective = PairLoss(SimPo(beta=2.0))
    # Every token of a row costs as much; the averages of both sides are equal, so nobody wins.
    cost = torch.arange(1.0, 5.0)[:, None] * (batch["labels"] >= 0)
    _, rows = objective(cost, batch)
    there = (batch["pieces"] >= 0).sum(1).double()
    named = dict(zip(("loss", *objective.measures), (rows / there[:, None]).T, strict=True))
    each = torch.arange(1.0, 5.0).double()
    assert named["reward_accuracy"].tolist() == [0, 0, 0, 0]
    torch.testing.assert_close(named["reward_chosen"], -2 * each)
    torch.testing.assert_close(named["reward_margin"], torch.zeros(4).double())
    torch.testing.assert_close(named["loss"], torch.full((4,), 0.6931471805599453).double())
    # chosen cheaper everywhere: all pairs are right
    sides = (batch["position_ids"] == 0).cumsum(1) % 2 == 1
    _, rows = objective(torch.where(sides, cost, 2 * cost), batch)
    torch.testing.assert_close(rows[:, 1], there)
    torch.testing.assert_close(rows[:, 2] / there, 2 * each)


def test_a_look_up_goes_by_source_and_place() -> None:
    stores = [source(code).store for code in ("eng", "tha")]
    table = ReferenceTable(stores, list(REFERENCE.values()))
    starts = [[0, *store.ends(0, store.documents)[:-1].tolist()] for store in stores]
    pieces = torch.tensor([[starts[1][1], -1], [starts[0][2], starts[0][0]], [starts[1][0], -1]])
    found = table.look_up(torch.tensor([1, 0, 1]), pieces)
    assert found[0, 0].tolist() == [-9.0, -9.5]
    assert found[1].tolist() == [[-9.0, -33.0], [-30.0, -20.0]]
    assert found[2, 0].tolist() == [-60.0, -80.0]
