"""The tables of `bench.kernel_traffic`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from marco.kernels.chips import Chip

#: By the prefix of their keys in the JSON.
SIDES = {"unfused_": "unfused", "": "ours", "liger_": "Liger"}

Rows = Mapping[str, Mapping[str, Any]]


def assumptions(model: str, tokens: int, chip: Chip) -> str:
    """What the figures hold for, and the rules they are counted by."""
    return (
        f"Assumed: Qwen2 {model}, {tokens:,} tokens, bf16, forward and backward; "
        f"{chip.name}, {chip.processors} processors, {chip.l2 / 2**20:.0f} MiB of L2. "
        "Unfused: each op of eager torch reads its operands and writes its results once.\n"
        f"Norms, rope and SwiGLU: on as many of these processors as the table says, with "
        f"{tokens / chip.processors:.3g} tokens each; GB are of all tokens.\n"
        "Losses, products of all sides: in waves of a tile a processor each tile comes from memory "
        "once, what fits half of the L2 once altogether; a library's tiles are 128 × 256."
    )


def elements_table(found: Rows) -> Table:
    """Ops that were interpreted, a row for each side."""
    keys = ("floor_ratio", "forward_ratio", "backward_ratio", "cached_ratio", "launches")
    columns = ("GB moved", "of the floor", "forward", "backward", "cached", "launches")
    table = Table("op", "interpreted inputs", "processors", "by", *columns)
    for op, of in found.items():
        for prefix, side in SIDES.items():
            row = {key: of.get(prefix + key) for key in (*keys, "moved")}
            if row["moved"] is None:
                continue
            alone = side == "unfused"  # at full size, whatever the chip
            where = ["-", "-"] if alone else [_shapes(of), str(of["processors"])]
            cells = ["-" if alone and key == "cached_ratio" else _cell(row[key]) for key in keys]
            table.add_row(op, *where, side, f"{row['moved'] / 1e9:.3f}", *cells)
    return table


def products_table(found: Rows) -> Table:
    """Ops that were modelled, a row for each side."""
    columns = ("TFLOP", "GB moved", "of the floor", "launches", "MiB beside outputs", "half tokens")
    table = Table("op", "inputs", "by", *columns)
    for op, row in found.items():
        for prefix, side in SIDES.items():
            if row[f"{prefix}launches"] is None:
                continue
            table.add_row(
                op,
                _shapes(row),
                side,
                f"{row[f'{prefix}flops'] / 1e12:.1f}",
                f"{row[f'{prefix}moved'] / 1e9:.1f}",
                f"{row[f'{prefix}floor_ratio']:.1f}",
                str(row[f"{prefix}launches"]),
                f"{row[f'{prefix}bytes_beside_outputs'] / 2**20:.1f}",
                f"{row[f'{prefix}bytes_beside_outputs_of_half'] / 2**20:.1f}",
            )
    return table


def _shapes(row: Mapping[str, Any]) -> str:
    return " ".join("×".join(map(str, shape)) for shape in row["inputs"])


def _cell(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:.4f}"
