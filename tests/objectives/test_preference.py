from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from marco.errors import ConfigError
from marco.objectives.preference import (
    dpo_loss,
    ipo_loss,
    log1mexp,
    log_ratio,
    orpo_loss,
    simpo_loss,
)
from marco.objectives.preference_settings import Dpo, Ipo, Orpo, Preference, SimPo

# log-ratios or average log-probabilities of three pairs
CHOSEN = [-1.0, -0.2, -3.5]
REJECTED = [-2.0, -0.9, -0.1]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def odds(x: float) -> float:
    return math.exp(x) / (1 - math.exp(x))


def dpo(c: float, r: float, beta: float, eps: float) -> float:
    margin = beta * (c - r)
    return -(1 - eps) * math.log(sigmoid(margin)) - eps * math.log(sigmoid(-margin))


def expected(name: str, c: float, r: float) -> float:
    match name:
        case "dpo":
            return dpo(c, r, 0.3, 0.0)
        case "dpo_smoothed":
            return dpo(c, r, 0.3, 0.2)
        case "ipo":
            return (c - r - 1 / 0.6) ** 2
        case "orpo":
            return -c - 0.3 * math.log(sigmoid(math.log(odds(c) / odds(r))))
    return -0.8 * math.log(sigmoid(2 * (c - r) - 0.5)) - 0.2 * math.log(sigmoid(0.5 - 2 * (c - r)))


LOSSES = {
    "dpo": lambda c, r: dpo_loss(c, r, 0.3),
    "dpo_smoothed": lambda c, r: dpo_loss(c, r, 0.3, 0.2),
    "ipo": lambda c, r: ipo_loss(c, r, 0.3),
    "orpo": lambda c, r: orpo_loss(c, r, 0.3),
    "simpo": lambda c, r: simpo_loss(c, r, 2.0, 0.5, 0.2),
}


def pairs() -> tuple[Tensor, Tensor]:
    chosen, rejected = (torch.tensor(x, dtype=torch.float64) for x in (CHOSEN, REJECTED))
    return chosen.requires_grad_(), rejected.requires_grad_()


@pytest.mark.parametrize("name", LOSSES)
def test_closed_form(name: str) -> None:
    wanted = [expected(name, c, r) for c, r in zip(CHOSEN, REJECTED, strict=True)]
    found = LOSSES[name](*pairs())
    torch.testing.assert_close(
        found.detach(), torch.tensor(wanted, dtype=torch.float64), rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", LOSSES)
def test_gradient(name: str) -> None:
    assert torch.autograd.gradcheck(LOSSES[name], pairs())


def test_dpo_by_hand() -> None:
    # Log-probabilities -4 and -9 where the reference has -6 and -8: log-ratios 2 and -1.
    policy = torch.tensor([[-4.0, -9.0]], dtype=torch.float64)
    reference = torch.tensor([[-6.0, -8.0]], dtype=torch.float64)
    chosen, rejected = log_ratio(policy, reference, None).unbind(1)
    assert dpo_loss(chosen, rejected, 0.1).item() == pytest.approx(math.log(1 + math.exp(-0.3)))
    lengths = torch.tensor([[4, 2]])
    chosen, rejected = log_ratio(policy, reference, lengths).unbind(1)
    assert (chosen.item(), rejected.item()) == (0.5, -0.5)


@pytest.mark.parametrize("value", [-1e-9, -1e-3, -0.6, -0.7, -20.0, -500.0])
def test_log1mexp_in_single_precision(value: float) -> None:
    x = torch.tensor(value, requires_grad=True)
    found = log1mexp(x)
    wanted = math.log(-math.expm1(min(value, -torch.finfo(torch.float32).eps)))
    assert found.item() == pytest.approx(wanted, rel=2e-7, abs=1e-30)
    found.backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad)


def test_a_certain_answer_has_a_finite_loss() -> None:
    certain = torch.zeros(1, requires_grad=True)
    loss = orpo_loss(certain, torch.tensor([-1.0]), 0.1).sum()
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(certain.grad).all()


@pytest.mark.parametrize(
    ("settings", "loss"),
    [
        (Dpo(beta=0.3, label_smoothing=0.2), "dpo_smoothed"),
        (Ipo(beta=0.3), "ipo"),
        (Orpo(beta=0.3), "orpo"),
        (SimPo(beta=2.0, gamma=0.5, label_smoothing=0.2), "simpo"),
    ],
)
def test_settings_mean_their_loss(settings: Preference, loss: str) -> None:
    torch.testing.assert_close(settings.pair_losses(*pairs()), LOSSES[loss](*pairs()))


def test_what_is_averaged_and_what_has_a_reference() -> None:
    found = [(x.averages, x.reference) for x in (Dpo(0.1), Ipo(0.1), Orpo(0.1), SimPo(2.0))]
    assert found == [(False, True), (True, True), (True, False), (True, False)]
    assert Dpo(0.1, length_normalisation=True).averages
    assert not Ipo(0.1, length_normalisation=False).averages


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dpo(beta=0.0), r"objective\.beta=0\.0"),
        (lambda: Ipo(beta=math.inf), r"objective\.beta=inf"),
        (lambda: Dpo(beta=0.1, label_smoothing=0.5), r"objective\.label_smoothing=0\.5"),
        (lambda: SimPo(beta=0.1, gamma=-1.0), r"objective\.gamma=-1\.0"),
    ],
)
def test_wrong_settings(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=message):
        make()
