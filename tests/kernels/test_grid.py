"""The order of programs: every tile once, as the traffic model has it, and whatever it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import triton
import triton.language as tl
from kernels.linear_cross_entropy_inputs import make
from torch import Tensor

from bench.product_model import order
from marco.kernels import _linear_cross_entropy_launches_triton, linear_distillation_triton
from marco.kernels._grid import CACHED, group_of_tiles, group_of_walks, tile_of_program
from marco.kernels.chips import CHIPS
from marco.kernels.device import Device
from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton
from marco.kernels.linear_distillation import linear_distillation


@triton.jit
def _note(tiles_ptr, rows, group, tile: tl.constexpr):
    if tl.program_id(1) * tile >= rows:
        return
    row, column = tile_of_program(rows, tile, group)
    at = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
    tl.store(tiles_ptr + 2 * at, row)
    tl.store(tiles_ptr + 2 * at + 1, column)


@pytest.mark.parametrize("group", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("grid_rows", [5, 8])
def test_the_model_has_the_kernels_order(group: int, grid_rows: int) -> None:
    """Also where fewer rows take part than the grid was made for."""
    found = torch.full((grid_rows * 3, 2), -1, dtype=torch.int32)
    _note[(3, grid_rows)](found, 18, group, tile=4)
    assert [tuple(x) for x in found[:15].tolist()] == list(order(5, 3, group))
    assert sorted(order(5, 3, group)) == [(row, column) for row in range(5) for column in range(3)]
    assert (found[15:] == -1).all()


def cross_entropy() -> list[Tensor]:
    hidden, weight, targets = make(250, 200, 16, ignored=5)
    loss = linear_cross_entropy_triton(
        hidden, weight, targets, ignore_index=-100, filter_gradients=True
    )
    return [loss, *torch.autograd.grad(loss.square().sum(), (hidden, weight))]


def distillation() -> list[Tensor]:
    numbers = torch.Generator().manual_seed(0)
    shapes = ((200, 16), (200, 16), (200, 8), (200, 8))
    inputs = [torch.randn(shape, generator=numbers) for shape in shapes]
    wanted = [x.requires_grad_() for x in inputs[:2]]
    loss = linear_distillation(*inputs, divergence="js", backend="triton")
    return [loss, *torch.autograd.grad(loss.square().sum(), wanted)]


@pytest.mark.parametrize(
    ("module", "run"),
    [
        (_linear_cross_entropy_launches_triton, cross_entropy),
        (linear_distillation_triton, distillation),
    ],
    ids=["cross-entropy", "distillation"],
)
def test_results_do_not_depend_on_it(
    module: Any, run: Callable[[], list[Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = []
    for group in (1, 3):
        for name in ("group_of_walks", "group_of_tiles"):
            monkeypatch.setattr(module, name, lambda *_, group=group: group)
        both.append(run())
    assert all(torch.equal(a, b) for a, b in zip(*both, strict=True))


def test_groups() -> None:
    h100 = Device.of(CHIPS["h100"])
    # Qwen2-72B in bf16: a tile of 128 rows is 2 MiB, twelve fit, and 64 tiles are six groups.
    assert group_of_walks(8192, 128, 16_384) == 11
    assert group_of_walks(8192, 128, 1792) == 64
    assert group_of_walks(5, 128, 16_384) == 1
    assert group_of_walks(8192, 128, CACHED) == 1
    assert group_of_tiles((128, 128), CACHED, h100) == 1
    assert group_of_tiles((128, 128), CACHED + 1, h100) == 11
    assert group_of_tiles((64, 128), CACHED + 1, h100) == 16
