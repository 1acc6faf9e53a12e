from __future__ import annotations

import math

import pytest

from marco.errors import ConfigError
from marco.training.schedules import Constant, WarmupCosine, WarmupLinear, WarmupStableDecay


def test_constant() -> None:
    schedule = Constant(warmup=0.1)
    assert schedule.factor(0.05) == pytest.approx(0.5)
    assert schedule.factor(0.1) == schedule.factor(1.0) == 1.0


def test_cosine() -> None:
    schedule = WarmupCosine(warmup=0.2, final=0.1)
    assert schedule.factor(0.1) == pytest.approx(0.5)
    assert schedule.factor(0.2) == pytest.approx(1.0)
    assert schedule.factor(0.6) == pytest.approx(0.1 + 0.9 * 0.5)
    assert schedule.factor(0.4) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert schedule.factor(1.0) == pytest.approx(0.1)


def test_linear() -> None:
    schedule = WarmupLinear(warmup=0.0, final=0.2)
    assert schedule.factor(0.0) == 1.0
    assert schedule.factor(0.5) == pytest.approx(0.6)
    assert schedule.factor(1.0) == pytest.approx(0.2)


def test_stable_then_decay() -> None:
    schedule = WarmupStableDecay(warmup=0.1, decay=0.25, final=0.0)
    assert schedule.factor(0.05) == pytest.approx(0.5)
    assert schedule.factor(0.5) == schedule.factor(0.75) == 1.0
    assert schedule.factor(0.875) == pytest.approx(0.5)
    assert schedule.factor(1.0) == pytest.approx(0.0)
    sqrt = WarmupStableDecay(warmup=0.0, decay=0.5, shape="sqrt")
    assert sqrt.factor(0.5 + 0.5 * 0.25) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "build",
    [
        lambda: WarmupCosine(warmup=1.5),
        lambda: WarmupLinear(final=2.0),
        lambda: WarmupStableDecay(warmup=0.5, decay=0.6),
        lambda: Constant(warmup=-0.1),
    ],
)
def test_impossible_shares(build: object) -> None:
    with pytest.raises(ConfigError, match="schedule"):
        build()  # type: ignore[operator]
