"""The head tile by tile: what all logits at once give, of every size, type and kind of head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from marco.evaluation.lm.head import ORDERED, ROWS, log_probabilities

VOCABULARY = ROWS["cpu"] + 300


@pytest.mark.parametrize("tokens", [3, ORDERED + 5])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("limit", [None, VOCABULARY - 10, 100])
def test_same_as_all_logits_at_once(
    tokens: int, bias: bool, watched: bool, limit: int | None
) -> None:
    generator = torch.Generator().manual_seed(4)
    head = nn.Linear(8, VOCABULARY, bias=bias).requires_grad_(False)
    head.weight.normal_(generator=generator)
    if watched:
        head.register_forward_hook(lambda *_: None)
    hidden = torch.randn(tokens, 8, generator=generator)
    logits = head(hidden)[:, :limit].double()
    targets = torch.randint(0, logits.shape[1], (tokens,), generator=generator)
    targets[::2] = logits[::2].argmax(1)
    nats, same = log_probabilities(head, hidden, targets, limit)
    expected = logits.log_softmax(1).gather(1, targets[:, None])[:, 0]
    assert nats.dtype == torch.float32
    assert torch.allclose(nats.double(), expected, rtol=0, atol=1e-5)
    assert torch.equal(same, logits.argmax(1) == targets)


@pytest.mark.parametrize("tokens", [3, ORDERED + 5])
def test_of_equally_likely_ones_the_first(tokens: int) -> None:
    head = nn.Linear(8, VOCABULARY, bias=False, dtype=torch.bfloat16).requires_grad_(False)
    rows = (7, 9, VOCABULARY - 1)  # the last is in another tile
    head.weight.zero_()[list(rows)] = 1
    hidden = torch.ones(tokens, 8, dtype=torch.bfloat16)
    expected = torch.tensor(8 - math.log(3 * math.exp(8) + VOCABULARY - 3))
    greedy = []
    for row in rows:
        nats, same = log_probabilities(head, hidden, torch.full((tokens,), row), None)
        assert torch.allclose(nats, expected, rtol=0, atol=1e-5)
        greedy.append(bool(same.all()))
    assert greedy == [True, False, False]
