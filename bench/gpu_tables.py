"""What `bench.gpu` prints: a table of ops, a table of steps, and what fails."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rich.table import Table

Row = dict[str, Any]
#: op → model → contender → row; model → contender → row.
Ops = dict[str, dict[str, dict[str, Row]]]
Steps = dict[str, dict[str, Row]]


def ops_table(ops: Ops, dtype: str, tokens: int) -> Table:
    """A row a contender; its time is set against ours by what the device computed, where known."""
    table = Table(title=f"Ops, {dtype}, {tokens} tokens: milliseconds, errors against float64")
    for column in ("op", "shape", "by", "forward", "forward + backward", "device busy"):
        table.add_column(column)
    for column in ("/ ours", "modelled", "error / torch's", "check"):
        table.add_column(column)
    for name, models in ops.items():
        for model, rows in models.items():
            for by, row in rows.items():
                table.add_row(
                    name,
                    model,
                    by,
                    *(_number(row.get(key)) for key in ("forward_ms", "ms", "busy_ms")),
                    _number(_against(row, rows["ours"])),
                    _number(row.get("model_ms")),
                    _ratios(row),
                    _check(row),
                )
            table.add_section()
    return table


def steps_table(steps: Steps, title: str) -> Table:
    """A row a contender."""
    table = Table(title=title)
    for column in ("shape", "kernels", "ms a step", "tokens/s", "MFU", "peak GB", "modelled ms"):
        table.add_column(column)
    table.add_column("loss")
    for model, rows in steps.items():
        for by, row in rows.items():
            if "error" in row:
                table.add_row(model, by, row["error"])
                continue
            table.add_row(
                model,
                by,
                f"{1e3 * row['seconds']:.1f}",
                f"{row['tokens_per_second']:,.0f}",
                "-" if row["mfu"] is None else f"{row['mfu']:.1%}",
                f"{row['peak_bytes'] / 1e9:.2f}",
                _number(row.get("model_ms")),
                f"{row['loss']:.4f}",
            )
        table.add_section()
    return table


def failures(ops: Ops) -> Iterator[str]:
    """A line for each op of ours that is wrong, or whose check or timing did not run."""
    for name, models in ops.items():
        for model, rows in models.items():
            row = rows["ours"]
            if "error" in row:
                yield f"{name}, {model}: {row['error']}"
            for one in row.get("errors", ()):
                if not one["error"] <= one["allowed"]:
                    yield (
                        f"{name}, {model}, {one['name']}: error {one['error']:.3g} of the largest "
                        f"value; {one['allowed']:.3g} is allowed, torch's is "
                        f"{one['torch_error']:.3g}"
                    )


def without_nan(found: Any) -> Any:
    """For JSON, which has no NaN and no infinity: null."""
    if isinstance(found, dict):
        return {key: without_nan(value) for key, value in found.items()}
    if isinstance(found, list):
        return [without_nan(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def _against(row: Row, ours: Row) -> float | None:
    for key in ("busy_ms", "ms"):
        if row.get(key) and ours.get(key):
            return float(row[key] / ours[key])
    return None


def _ratios(row: Row) -> str:
    """Worst of the outputs, worst of the gradients."""
    worst = []
    for kind in ("output", "gradient"):
        found = [one["ratio"] for one in row.get("errors", ()) if one["name"].startswith(kind)]
        worst.append(f"{max(found, key=_nan_last):.2f}" if found else "-")
    return ", ".join(worst)


def _nan_last(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _check(row: Row) -> str:
    if "error" in row:
        return str(row["error"])
    return {True: "holds", False: "fails", None: "-"}[row.get("holds")]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
