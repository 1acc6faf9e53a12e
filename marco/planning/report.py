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
        _groups(plan),
        _languages(plan["languages"]),
        _cost(plan),
        _memory(plan["memory"]),
        *_process(plan["memory"]["process"]),
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
    rates = "first rate", "peak rate", "last rate"
    table = _table(f"Plan of {plan['name']}", "stage", "tokens", "steps", *rates)
    for stage in plan["stages"]:
        curve = [point["learning_rate"] for point in stage["learning_rate"]]
        cells = (f"{rate:.3g}" for rate in (curve[0], max(curve), curve[-1])) if curve else "---"
        table.add_row(stage["name"], short(stage["tokens"]), f"{stage['steps']:,}", *cells)
    return table


def _groups(plan: Mapping[str, Any]) -> Table:
    """Of the whole run, and the share in each stage where there are several."""
    stages = plan["stages"] if len(plan["stages"]) > 1 else []
    names = [f"share in {stage['name']}" for stage in stages]
    table = _table("", "group", "size", "tokens", "share", "epochs", *names)
    for group, one in plan["groups"].items():
        cells = (f"{stage['shares'][group]:.2%}" for stage in stages)
        table.add_row(group, *_served(one), *cells)
    return table


def _languages(languages: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = "size", "tokens", "share", "epochs", "fertility", "tokens/char", "truncated", "fill"
    table = _table("", "source", *columns)
    for code, one in languages.items():
        cells = (
            _known(one["fertility"], ".2f"),
            _known(one["tokens_per_character"], ".2f"),
            _known(one["truncated"], ".0%"),
            f"{one['fill']:.0%}",
        )
        table.add_row(code, *_served(one), *cells)
    return table


def _served(one: Mapping[str, Any]) -> tuple[str, ...]:
    epochs = f"{one['epochs']:.2f}" if one["epochs"] < 100 else f"{one['epochs']:,.0f}"
    return short(one["size"]), short(one["tokens"]), f"{one['share']:.2%}", epochs


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


def _process(process: Mapping[str, int] | None) -> list[Text]:
    """What the whole process takes, on a CPU."""
    if process is None:
        return []
    parts = ", ".join(
        f"{name} {size / _GB:,.3f}" for name, size in process.items() if name != "total" and size
    )
    total = f"{process['total'] / _GB:,.3f} GB above its packages"
    return [Text(f"\nThe process holds at the most {total}:\n{parts}.")]
