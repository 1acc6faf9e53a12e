"""The end of a recipe: what every step did, and the ledger of all of them together."""

from __future__ import annotations

import json
from typing import Any

from rich import box
from rich.table import Table

from marco.evaluation.numbers import short
from marco.training.checkpoints.files import replace_json
from marco.training.recipe.state import State

FILE = "summary.json"
NOTHING = "–"


def finish(state: State) -> Table:
    """Write ``summary.json`` into the recipe's folder and return the table of its steps."""
    found: dict[str, Any] = {}
    tokens: dict[str, int] = {}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=f"Recipe {state.recipe}")
    table.title_justify = "left"
    table.add_column("Step")
    for name in ("Tokens", "Bits per byte before", "after", "Minutes"):
        table.add_column(name, justify="right")
    for command in state.commands:
        seconds = state.seconds.get(command.name)
        entry: dict[str, Any] = {"do": command.do, "folder": str(command.folder)}
        cells = [NOTHING] * 3
        if command.do == "train":
            summary = json.loads((command.folder / FILE).read_text(encoding="utf-8"))
            macro = summary["macro"]["bits_per_byte"]
            entry |= {"tokens": summary["train"]["tokens"], "macro": summary["macro"]}
            for code, language in summary["languages"].items():
                tokens[code] = tokens.get(code, 0) + language["tokens"]
            cells = [short(entry["tokens"]), _number(macro["before"]), _number(macro["after"])]
        entry["seconds"] = seconds
        found[command.name] = entry
        table.add_row(command.name, *cells, NOTHING if seconds is None else f"{seconds / 60:.1f}")
    replace_json(
        state.folder / FILE,
        {"recipe": state.recipe, "steps": found, "ledger": {"tokens": tokens}},
    )
    return table


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"
