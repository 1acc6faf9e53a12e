"""The plan for people: tables of at most 100 columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from marco.evaluation.numbers import short
from marco.planning.options import CPU
from marco.tracking.console import console

_GB = 1e9
_PARTS = ("weights", "gradients", "optimizer", "gathered", "activations", "total")


def print_plan(plan: Mapping[str, Any]) -> None:
    """Print it on the console of the process."""
    console().print(plan_tables(plan))


def plan_tables(plan: Mapping[str, Any]) -> RenderableType:
    """Everything, in the order in which it is read: what, how often, what it needs, what is odd."""
    parts: list[RenderableType] = [
        _stages(plan),
        _languages(plan["languages"]),
        _cost(plan),
        _memory(plan["memory"]),
    ]
    for title in ("warnings", "notes", "assumptions"):
        if plan[title]:
            listed = "".join(f"\n- {line}" for line in plan[title])
            parts.append(Text(f"{title.capitalize()}:{listed}"))
    return Group(*parts)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _stages(plan: Mapping[str, Any]) -> Table:
    groups = list(plan["stages"][0]["shares"])
    table = _table(f"Plan of {plan['name']}", "stage", "tokens", "steps", "peak rate", *groups)
    for number, stage in enumerate(plan["stages"], start=1):
        peak = max(point["learning_rate"] for point in stage["learning_rate"])
        shares = (f"{stage['shares'].get(group, 0):.1%}" for group in groups)
        size = short(stage["tokens"]), f"{stage['steps']:,}"
        table.add_row(str(number), *size, f"{peak:.3g}", *shares)
    return table


def _languages(languages: Mapping[str, Mapping[str, Any]]) -> Table:
    table = _table(
        "", "source", "size", "tokens", "share", "epochs", "fertility", "tokens/char", "cut"
    )
    for code, one in languages.items():
        cells = (
            _known(one["fertility"], ".2f"),
            _known(one["tokens_per_character"], ".2f"),
            _known(one["cut"], ".0%"),
        )
        epochs = f"{one['epochs']:.2f}" if one["epochs"] < 100 else f"{one['epochs']:,.0f}"
        sizes = short(one["size"]), short(one["tokens"])
        table.add_row(code, *sizes, f"{one['share']:.2%}", epochs, *cells)
    return table


def _known(value: float | None, style: str) -> str:
    return "-" if value is None else format(value, style)


def _cost(plan: Mapping[str, Any]) -> Text:
    time = plan["time"]
    lines = [f"\nParameters {plan['parameters']:,}; {plan['flops']:.3g} FLOPs."]
    if time["device"] != CPU:
        cost = "" if time["cost"] is None else f", cost {time['cost']:,.0f}"
        lines.append(
            f"{time['devices']} × {time['device']} at {time['mfu']:.0%} MFU: {time['hours']:,.3g} "
            f"hours, {time['device_hours']:,.4g} device hours{cost}, "
            f"{short(time['tokens_per_second'])} tokens/s."
        )
    return Text("\n".join(lines))


def _memory(memory: Mapping[str, Any]) -> Table:
    """The run's own, then the other strategies, then with and without the two that save memory."""
    there = memory["device_memory"]
    fits = "" if there is None else f", which has {there / _GB:,.0f}"
    title = (
        f"\nGB on a device{fits}: {memory['micro_sequences']} sequences at a time, "
        f"{memory['accumulation']} times a step, {memory['precision']}"
    )
    table = _table(title, "", *_PARTS)

    def row(name: str, one: Mapping[str, Any]) -> None:
        table.add_row(name, *(f"{one[part] / _GB:,.3f}" for part in _PARTS))

    row(f"this run ({memory['strategy']})", memory)
    for name, one in memory["strategies"].items():
        if name != memory["strategy"]:
            row(name, one)
    chosen = memory["fused_loss"], memory["checkpointing"]
    for one in memory["variants"]:
        if (one["fused_loss"], one["checkpointing"]) != chosen:
            loss = "fused loss" if one["fused_loss"] else "whole logits"
            again = ", checkpointing" if one["checkpointing"] else ""
            row(f"{memory['strategy']}, {loss}{again}", one)
    return table
