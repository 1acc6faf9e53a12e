from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from marco.errors import CheckpointError, ConfigError
from marco.training.checkpoint import load, save
from marco.training.optimizers import AdamW
from marco.training.weight_average import forget


class Two(nn.Module):
    """One parameter that learns and one that gets no gradient."""

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.used = nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4).to(dtype))
        self.idle = nn.Parameter(torch.ones(2, dtype=dtype))

    def gradients(self, step: int) -> None:
        generator = torch.Generator().manual_seed(step)
        self.used.grad = torch.randn(3, 4, generator=generator).to(self.used.dtype)


def run(model: Two, optimizer: torch.optim.Optimizer, steps: range) -> list[torch.Tensor]:
    """The weights, or their masters, in float64 after each step."""
    seen = []
    for step in steps:
        model.gradients(step)
        optimizer.step()
        state = optimizer.state[model.used]
        seen.append(state.get("master", model.used.detach()).double().clone())
    return seen


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_average_is_the_weighted_sum_of_all_weights(dtype: torch.dtype) -> None:
    model, decay = Two(dtype), 0.8
    optimizer = AdamW(lr=0.1, ema=decay).build(model)
    every = [model.used.detach().double().clone(), *run(model, optimizer, range(7))]
    wanted = decay**7 * every[0]
    for step in range(1, 8):
        wanted += (1 - decay) * decay ** (7 - step) * every[step]
    found = optimizer.state[model.used]["ema"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=1e-6)
    assert (found - every[-1]).abs().max() > 0.01
    assert model.idle not in optimizer.state


def test_a_step_that_is_thrown_away_moves_no_average() -> None:
    model = Two()
    optimizer = AdamW(lr=0.1, ema=0.5).build(model)
    run(model, optimizer, range(2))
    before = optimizer.state[model.used]["ema"].clone()
    model.used.grad = None
    optimizer.step()
    assert torch.equal(optimizer.state[model.used]["ema"], before)


def written(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None) -> Path:
    return save(
        folder,
        model=model,
        optimizer=optimizer,
        progress={},
        config={},
        tokenizer_fingerprint="t",
        step=3,
        tokens=3,
    )


def test_it_goes_on_bit_for_bit_and_is_read_in_place_of_the_weights(tmp_path: Path) -> None:
    settings = AdamW(lr=0.1, ema=0.9)
    whole, model = Two(), Two()
    reference, optimizer = settings.build(whole), settings.build(model)
    run(whole, reference, range(6))
    run(model, optimizer, range(3))
    path = written(tmp_path, model, optimizer)
    resumed = Two()
    other = settings.build(resumed)
    load(path, model=resumed, optimizer=other, tokenizer_fingerprint="t")
    run(resumed, other, range(3, 6))
    assert torch.equal(resumed.used, whole.used)
    assert torch.equal(other.state[resumed.used]["ema"], reference.state[whole.used]["ema"])

    averaged = Two()
    load(path, model=averaged, optimizer=None, tokenizer_fingerprint="t", average=True)
    assert torch.equal(averaged.used, optimizer.state[model.used]["ema"])
    assert torch.equal(averaged.idle, model.idle)
    forget(other)
    assert "ema" not in other.state[resumed.used]
    none = written(tmp_path / "none", resumed, other)
    with pytest.raises(CheckpointError, match=r"optimizer\.ema=null"):
        load(none, model=averaged, optimizer=None, tokenizer_fingerprint="t", average=True)


def test_wrong_decays() -> None:
    for decay in (0.0, 1.0, -0.5):
        with pytest.raises(ConfigError, match=r"optimizer\.ema"):
            AdamW(lr=1.0, ema=decay)
