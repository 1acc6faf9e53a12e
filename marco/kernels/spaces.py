"""What each kernel may be launched with: few candidates, the fixed choice first.

A candidate's tile of products must fit the chip (`_fitting`); that none spills registers on an
A100, H100, B200 or MI300X, at the shapes of Qwen2, `python -m bench.kernel_compile --space` shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import triton  # type: ignore[import-untyped]
from torch import Tensor

from marco.kernels.chips import KIB
from marco.kernels.device import Device, device_of

#: A launch's block sizes, and `num_warps`, `num_stages`.
Options = Mapping[str, int]

#: Elements of a norm's rows that a program holds at once: long rows fill it alone.
NORM_TILE = 4096
#: Bytes of the widest load of a lane.
WIDEST_LOAD = 16


def norm_forward(x: Tensor, residual: Tensor | None) -> Sequence[Options]:
    """Rows together until they fill a tile; programs a multiprocessor, and tiles on their way.

    A program reads the weight once: more programs hide more of the memory's latency, and read more.
    """
    warps = 16 if triton.next_power_of_2(x.shape[-1]) > NORM_TILE // 2 else 8
    return _norm(warps, x, residual)


def norm_backward(x: Tensor, dy: Tensor, dsummed: Tensor | None) -> Sequence[Options]:
    """As forward; each program also leaves a partial sum of the weight's gradient."""
    # With 8 warps, rows of fp32 and the sum of dweight spill.
    wide = x.element_size() == 4 or triton.next_power_of_2(x.shape[-1]) > NORM_TILE // 2
    return _norm(16 if wide else 8, x, dy, dsummed)


def _norm(warps: int, x: Tensor, *others: Tensor | None) -> Sequence[Options]:
    """Those whose pipeline, a tile of each operand a stage but the last, fits shared memory."""
    device = device_of(x)
    hidden = triton.next_power_of_2(x.shape[-1])
    rows = max(1, NORM_TILE // hidden)
    sizes = [operand.element_size() for operand in (x, *others) if operand is not None]
    # AMD's 64 lanes a warp would share a row of bf16 in loads of 8 bytes where NVIDIA's 32 take 16.
    warps = min(warps, rows * hidden * min(sizes) // (WIDEST_LOAD * device.lanes))
    shape = {"block_rows": rows, "block_hidden": hidden, "num_warps": warps}
    stage = rows * hidden * sum(sizes)
    return [
        {**shape, "programs": programs, "stages": stages}
        for programs, stages in ((1, 3), (1, 2), (2, 2), (2, 1))
        if stages == 1 or programs * (stages - 1) * stage + KIB <= device.shared
    ]


def rope(heads: int, half: int) -> Sequence[Options]:
    """A program is a token: as many threads as its widest operand keeps busy, or half, or twice."""
    warps = 4 if heads * half < 4096 else 8
    return [{"num_warps": number} for number in (warps, warps // 2, 2 * warps)]


def swiglu(x: Tensor) -> Sequence[Options]:
    """8 elements a thread are one load of 16 bytes in bf16; 16 are two in flight."""
    return [
        {"block": block, "num_warps": threads // device_of(x).lanes}
        for block, threads in ((1024, 128), (2048, 128), (2048, 256))
    ]


def logits(op: str, x: Tensor) -> Sequence[Options]:
    """Tiles of `x @ w.T` that end in a softmax; the variants need registers of their own."""
    device = device_of(x)
    if x.dtype == torch.float32:
        # fp32 products take registers, not matrix units: larger tiles, and a pipeline, spill.
        return _logits([(64, 64, 16, 8, 1)])
    stages = 2 if device.amd else 3
    if op == "linear_cross_entropy_statistics":
        return _logits([(64, 128, 64, 8, stages)])
    if op == "linear_cross_entropy_filtered":
        return _logits([(128, 128, 64, 8, stages)])
    tiles = [(128, 128, 64, 8, stages)]
    if device.amd:
        tiles += [(128, 128, 32, 8, 2), (128, 64, 64, 4, 2)]
    else:
        tiles += [(128, 128, 64, 8, 4), (128, 128, 32, 8, 4)]
    return _fitting(_logits(tiles), ("tile_t", "tile_v", "tile_h"), x, device)


def products(op: str, x: Tensor) -> Sequence[Options]:
    """Tiles of a plain product."""
    device = device_of(x)
    if x.dtype == torch.float32:
        return _products([(64, 64, 16, 8, 1)])
    tiles = [(128, 128, 64, 8, 2 if device.amd else 3)]
    if op != "linear_cross_entropy_filtered":  # whose marks are for these tiles
        if device.amd:
            tiles += [(128, 128, 32, 8, 2), (256, 128, 32, 8, 2)]
        else:
            tiles += [(128, 128, 64, 8, 4), (128, 128, 32, 8, 4)]
    return _fitting(_products(tiles), ("tile_m", "tile_n", "tile_k"), x, device)


def distillation(*tensors: Tensor, heads: int, walks: bool) -> Sequence[Options]:
    """Tiles of one or both heads' logits; `b_row` divides a slab of the vocabulary.

    A kernel that `walks` goes over a slab's tiles, with sums at hand; another one takes one tile.
    """
    tiles = [(64, 128, 64, 8, 3), (64, 128, 32, 8, 3)]
    if heads == 1:
        tiles.append((128, 128, 64, 8, 3))
    # Of what spills in fp32: on 8 warps js's forward 8 bytes on a B200, one head's kernel 8 on an
    # A100; on 4 kl's backward 16 there.
    return _distilling(tiles, (64, 64, 16, 4 if walks else 8, 1), tensors)


def distillation_hidden(*tensors: Tensor) -> Sequence[Options]:
    """Here the product's inner dimension is the vocabulary: the two blocks change places."""
    return _distilling([(64, 64, 128, 8, 3), (128, 64, 128, 8, 3)], (64, 16, 128, 8, 2), tensors)


def _distilling(
    tiles: Sequence[tuple[int, ...]], wide: tuple[int, ...], tensors: Sequence[Tensor]
) -> Sequence[Options]:
    names = ("b_token", "b_row", "b_size", "num_warps", "num_stages")
    # As in `logits`: fp32 products take registers.
    if any(x.element_size() == 4 for x in tensors):
        tiles = [wide]
    return [dict(zip(names, tile, strict=True)) for tile in tiles]


def shared_bytes(tile: tuple[int, int, int], stages: int, element: int, amd: bool) -> int:
    """Shared memory of a pipelined product's operands: a model of what Triton takes.

    Args:
        tile: rows, columns and depth.
        stages: of the pipeline; AMD's keeps one of them in registers.
        element: bytes.
    """
    rows, columns, depth = tile
    return (rows + columns) * depth * element * max(1, stages - amd)


def _logits(tiles: Sequence[tuple[int, ...]]) -> list[Options]:
    names = ("tile_t", "tile_v", "tile_h", "num_warps", "num_stages")
    return [dict(zip(names, tile, strict=True)) for tile in tiles]


def _products(tiles: Sequence[tuple[int, ...]]) -> list[Options]:
    names = ("tile_m", "tile_n", "tile_k", "num_warps", "num_stages")
    return [dict(zip(names, tile, strict=True)) for tile in tiles]


def _fitting(
    space: Sequence[Options], sides: tuple[str, str, str], x: Tensor, device: Device
) -> Sequence[Options]:
    """Those that fit the chip's shared memory; the last of all where none does."""

    def size(options: Options) -> int:
        rows, columns, depth = (options[side] for side in sides)
        return shared_bytes(
            (rows, columns, depth), options["num_stages"], x.element_size(), device.amd
        )

    return [o for o in space if size(o) <= device.shared] or [min(space, key=size)]
