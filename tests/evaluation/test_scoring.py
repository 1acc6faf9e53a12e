from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from marco.evaluation import scoring
from marco.evaluation.scoring import Shard, score_continuations, score_documents

END_OF_TEXT = 96


def texts(*lengths: int) -> list[list[int]]:
    draw = random.Random(0)
    return [[draw.randrange(96) for _ in range(length)] for length in lengths]


def alone(model: nn.Module, tokens: list[int]) -> np.ndarray:
    """One document, one row, no packing: the plain definition."""
    model.eval()
    inputs = torch.tensor([[END_OF_TEXT, *tokens[:-1]]])
    positions = torch.arange(len(tokens))[None]
    with torch.no_grad():
        losses: Tensor = model(inputs, positions, torch.tensor([tokens]))
    return losses[0].numpy()


@pytest.mark.parametrize(
    ("max_tokens", "row_length"), [(64, None), (65, None), (256, 64), (512, None), (129, 100)]
)
def test_scores_do_not_depend_on_the_packing(
    tiny_model: nn.Module, max_tokens: int, row_length: int | None
) -> None:
    documents = texts(64, 1, 2, 0, 17, 40, 33, 5, 1, 60)
    scores = score_documents(tiny_model, documents, END_OF_TEXT, max_tokens, row_length=row_length)
    for document, score in zip(documents, scores, strict=True):
        assert score.dtype == np.float32
        assert score.shape == (len(document),)
        if document:
            np.testing.assert_allclose(score, alone(tiny_model, document), atol=1e-4)


def test_a_forward_stays_within_the_budget(tiny_model: nn.Module) -> None:
    score_documents(tiny_model, texts(*[30] * 20), END_OF_TEXT, 256, row_length=64)
    assert tiny_model.shapes == [(4, 64)] * 2 + [(2, 64)]


def test_a_long_document_is_scored_once_in_overlapping_windows(tiny_model: nn.Module) -> None:
    (document,) = texts(150)
    (score,) = score_documents(tiny_model, [document], END_OF_TEXT, 64, overlap=16)
    whole = alone(tiny_model, document)
    assert score.shape == (150,)
    np.testing.assert_allclose(score[:64], whole[:64], atol=1e-4)
    # the second window starts 16 tokens back and conditions on the token before them
    tail = torch.tensor([document[47 : 47 + 64]])
    with torch.no_grad():
        losses = tiny_model(tail, torch.arange(64)[None], torch.tensor([document[48 : 48 + 64]]))
    np.testing.assert_allclose(score[64:112], losses[0, 16:].numpy(), atol=1e-4)


def test_only_the_continuation_is_scored(tiny_model: nn.Module) -> None:
    prefix, one, other = texts(20, 3, 7)
    pairs = [(prefix, one), (prefix, other), (prefix, [])]
    scores = score_continuations(tiny_model, pairs, END_OF_TEXT, 128)
    np.testing.assert_allclose(scores[0], alone(tiny_model, prefix + one)[20:], atol=1e-4)
    np.testing.assert_allclose(scores[1], alone(tiny_model, prefix + other)[20:], atol=1e-4)
    assert scores[2].size == 0


def test_a_prefix_longer_than_a_row_keeps_its_end(tiny_model: nn.Module) -> None:
    prefix, continuation = texts(100, 4)
    (score,) = score_continuations(tiny_model, [(prefix, continuation)], END_OF_TEXT, 32)
    assert score.shape == (4,)
    assert np.isfinite(score).all()
    assert len(tiny_model.shapes) == 1


def test_modes_and_random_state_are_as_before(tiny_model: nn.Module) -> None:
    tiny_model.train()
    tiny_model.head.eval()
    modes = [module.training for module in tiny_model.modules()]
    state = torch.get_rng_state()
    first = score_documents(tiny_model, texts(9), END_OF_TEXT, 64)
    again = score_documents(tiny_model, texts(9), END_OF_TEXT, 64)
    assert [module.training for module in tiny_model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(first[0], again[0])  # the dropout of training is off


def test_modes_come_back_after_a_failure(tiny_model: nn.Module) -> None:
    tiny_model.train()
    with pytest.raises(IndexError):
        score_documents(tiny_model, [[1000]], END_OF_TEXT, 64)
    assert all(module.training for module in tiny_model.modules())


def test_training_goes_on_after_a_first_forward_in_evaluation(tiny_model: nn.Module) -> None:
    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.buffer: Tensor | None = None

        def forward(self, input_ids: Tensor, position_ids: Tensor, labels: Tensor) -> Tensor:
            if self.buffer is None:
                self.buffer = torch.zeros(1)
            self.buffer.add_(1)
            return self.weight * self.buffer.clone() * torch.ones(labels.shape)

    model = Caching()
    score_documents(model, texts(3), END_OF_TEXT, 64)
    model(*[torch.zeros(1, 3, dtype=torch.int64)] * 3).sum().backward()
    assert model.weight.grad is not None


def test_ranks_run_equally_many_forwards_and_their_scores_add_up(
    tiny_model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = texts(40, 50, 60, 33, 61)  # five rows, three ranks
    whole = score_documents(tiny_model, documents, END_OF_TEXT, 64)
    monkeypatch.setattr(scoring, "_gather", lambda nats, shard, device: nats)
    forwards, parts = [], []
    for rank in range(3):
        tiny_model.shapes.clear()
        shard = Shard(rank, 3)
        parts.append(score_documents(tiny_model, documents, END_OF_TEXT, 64, shard=shard))
        forwards.append(len(tiny_model.shapes))
    assert forwards == [2, 2, 2]
    for index, score in enumerate(whole):
        np.testing.assert_array_equal(sum(part[index] for part in parts), score)


def test_nothing_to_score_runs_nothing(tiny_model: nn.Module) -> None:
    assert score_documents(tiny_model, [], END_OF_TEXT, 64) == []
    assert score_documents(tiny_model, [[]], END_OF_TEXT, 64)[0].size == 0
    assert tiny_model.shapes == []


def test_progress_ends_at_the_total(tiny_model: nn.Module) -> None:
    seen: list[tuple[int, int]] = []
    score_documents(
        tiny_model, texts(40, 50), END_OF_TEXT, 64, progress=lambda *counts: seen.append(counts)
    )
    assert seen == [(50, 90), (90, 90)]


def test_an_impossible_overlap_is_refused(tiny_model: nn.Module) -> None:
    with pytest.raises(ValueError, match="overlap"):
        score_documents(tiny_model, texts(3), END_OF_TEXT, 8, overlap=8)
