"""In which order programs take the tiles of a product, so that those that run together share them.

A wave of programs, one a multiprocessor, that goes over a grid line by line holds a few row tiles
and as many column tiles as a line has, and fetches all of those again for the next line. In groups
of rows (`tl.swizzle2d`) it holds some of each.
"""

from __future__ import annotations

from math import ceil, isqrt

import triton  # type: ignore[import-untyped]
import triton.language as tl  # type: ignore[import-untyped]

from marco.kernels.chips import KIB
from marco.kernels.device import Device

#: Bytes of an operand that stay in the L2 cache: about half of an H100's, which has 50 MiB.
CACHED = 24 * KIB**2


@triton.jit  # type: ignore[untyped-decorator]
def tile_of_program(
    rows: tl.tensor, tile: tl.constexpr, group: tl.tensor
) -> tuple[tl.tensor, tl.tensor]:
    """Row tile and column tile, in a grid of columns × rows: row tiles of a group vary fastest.

    `tile` rows are a tile. Programs beyond the tiles of `rows` must have returned before.
    """
    row, column, columns = tl.program_id(1), tl.program_id(0), tl.num_programs(0)
    row, column = tl.swizzle2d(row, column, tl.cdiv(rows, tile), columns, group)
    return row, column


def group_of_walks(rows: int, tile: int, line: int) -> int:
    """Of programs that walk over columns and need their rows at each step: the rows stay cached.

    Args:
        rows: of the grid.
        tile: rows of a tile.
        line: bytes of a row.
    """
    tiles = ceil(rows / tile)
    groups = ceil(tiles / max(1, CACHED // (tile * line)))
    return ceil(tiles / groups)


def group_of_tiles(tile: tuple[int, int], columns: int, device: Device) -> int:
    """Of programs that take one tile: all columns a row if they stay cached, else near a square.

    Args:
        tile: rows and columns of a tile.
        columns: bytes of all columns.
        device: which runs as many programs at a time as it has processors.
    """
    if columns <= CACHED:
        return 1
    return max(1, isqrt(device.processors * tile[1] // tile[0]))
