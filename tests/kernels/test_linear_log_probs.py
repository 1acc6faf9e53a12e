"""Statistics and log-probabilities of targets, against whole logits."""

from __future__ import annotations

import pytest
import torch
from kernels.linear_cross_entropy_inputs import make
from kernels.test_torch_path import TYPES
from kernels.truth import assert_as_good_as_torch
from torch import Tensor
from torch.nn import functional

from marco.kernels.linear_cross_entropy import (
    linear_log_probs,
    linear_statistics,
)
from marco.kernels.torch_path import linear_cross_entropy as torch_path

pytestmark = pytest.mark.usefixtures("passes")


@pytest.mark.parametrize("limit", [None, 90])
@pytest.mark.parametrize("dtype", TYPES)
def test_statistics(dtype: torch.dtype, limit: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_path, "BLOCK_ELEMENTS", 700)
    hidden, weight, targets = make(50, 101, 32, dtype, limit=90, ignored=5)
    logits = functional.linear(hidden, weight if limit is None else weight[:limit]).float()
    targets[1::5] = logits.argmax(1)[1::5]
    log_probs = logits.log_softmax(1)
    counts = targets != -100
    losses, correct, entropy = linear_statistics(hidden, weight, targets, limit=limit)
    assert not losses.requires_grad
    assert (losses.dtype, correct.dtype, entropy.dtype) == (
        torch.float32,
        torch.bool,
        torch.float32,
    )
    assert torch.equal(correct, (logits.argmax(1) == targets) & counts)
    assert int(correct.sum()) >= 10
    plain = -log_probs.gather(1, targets.clamp(min=0)[:, None]).squeeze(1)
    torch.testing.assert_close(losses, torch.where(counts, plain, 0.0))
    expected = -(log_probs.exp() * log_probs).sum(1)
    torch.testing.assert_close(entropy, torch.where(counts, expected, 0.0))


def test_statistics_of_nothing() -> None:
    for tokens in (0, 3):
        made = linear_statistics(*make(tokens, 30, 16, ignored=1))
        assert [x.shape for x in made] == [(tokens,)] * 3
        assert not any(x.any() for x in made)


@pytest.mark.parametrize("dtype", TYPES)
def test_log_probs(dtype: torch.dtype) -> None:
    hidden, weight, targets = make(24, 101, 32, dtype, limit=90, ignored=5)
    sequences = targets.view(3, 8)

    def ours(h: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        return linear_log_probs(h.view(3, 8, 32), w, sequences, limit=90)

    def plain(h: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        logits = functional.linear(h, w[:90])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        chosen = logits.log_softmax(-1).gather(1, targets.clamp(min=0)[:, None]).squeeze(1)
        tokens = torch.where(targets != -100, chosen, 0.0).view(3, 8)
        return tokens, tokens.sum(1)

    assert_as_good_as_torch(ours, plain, [hidden, weight])
