"""The table at the end of a run: one row a language, by group, with macro averages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from marco.evaluation.numbers import short
from marco.languages import GROUPS, get

#: The table fits in this many columns, whatever is in it.
WIDTH = 100
NOTHING = "–"


def results_table(summary: Mapping[str, Any]) -> Table:
    """Lay ``build_summary``'s result out as a table of at most 100 columns.

    Bits per byte before and after training, their change, and xz's (lower is better: a language
    that got worse is marked), where any language was evaluated; lexicon accuracy after training if
    it was measured; tokens and epochs. Below, the averages of each group with several languages
    and of all languages.
    """
    languages: Mapping[str, Mapping[str, Any]] = summary["languages"]
    lexicon = any(
        _get(entry, "lexicon_accuracy", "after") is not None for entry in languages.values()
    )
    evaluated = any(
        _get(entry, "bits_per_byte", when) is not None
        for entry in languages.values()
        for when in ("before", "after")
    )
    table = Table(
        box=box.SIMPLE_HEAD,
        width=None,
        pad_edge=False,
        collapse_padding=True,
        title=_title(summary, evaluated),
    )
    table.title_justify = "left"
    table.add_column("Language", no_wrap=True, overflow="ellipsis", min_width=12, max_width=24)
    table.add_column("", no_wrap=True)
    table.add_column("Group", no_wrap=True)
    numbers = ["Before", "After", "Change", "xz"] * evaluated + ["Lexicon"] * lexicon
    for name in [*numbers, "Tokens", "Epochs"]:
        table.add_column(name, justify="right", no_wrap=True, min_width=6)
    members: dict[str, list[str]] = {}
    for code in languages:
        members.setdefault(get(code).group, []).append(code)
    ordered = [group for group in (*GROUPS, *members) if group in members]
    for group in dict.fromkeys(ordered):
        for code in members[group]:
            table.add_row(
                Text(get(code).name), code, group, *_cells(languages[code], evaluated, lexicon)
            )
    table.add_section()
    for group in dict.fromkeys(ordered):
        if len(members[group]) > 1:
            entries = [languages[code] for code in members[group]]
            table.add_row(
                f"Mean of {_measured(entries) if evaluated else len(entries)}",
                "",
                group,
                *_cells(_average(entries), evaluated, lexicon),
                style="dim",
            )
    if len(languages) > 1:
        entries = list(languages.values())
        name = f"Macro average of {_measured(entries) if evaluated else len(entries)}"
        cells = _cells(_average(entries), evaluated, lexicon)
        table.add_row(name, "", "", *cells, style="bold")
    return table


def _title(summary: Mapping[str, Any], evaluated: bool) -> Text:
    train = summary["train"]
    speed = train["tokens_per_second"]
    text = "Held-out bits per byte · " if evaluated else "Not evaluated · "
    text += f"{short(train['tokens'])} tokens"
    if speed is not None:
        text += f" in {train['seconds']:.0f} s, {speed:,.0f} tokens/s"
    return Text(text)


def _cells(entry: Mapping[str, Any], evaluated: bool, lexicon: bool) -> list[Text | str]:
    first, last = (_get(entry, "bits_per_byte", when) for when in ("before", "after"))
    change = None if first is None or last is None else last - first
    cells: list[Text | str] = []
    if evaluated:
        worse = change is not None and change > 0
        cells += [_number(first), _number(last)]
        cells.append(Text(_number(change, "+.3f"), style="bold red" if worse else ""))
        cells.append(_number(_get(entry, "bits_per_byte", "reference_xz")))
    if lexicon:
        cells.append(_number(_get(entry, "lexicon_accuracy", "after"), ".2f"))
    epochs = entry["epochs"]
    return [*cells, short(entry["tokens"]), NOTHING if epochs is None else f"{epochs:.2f}"]


def _get(entry: Mapping[str, Any], metric: str, when: str) -> float | None:
    value: float | None = entry[metric][when]
    return value


def _number(value: float | None, style: str = ".3f") -> str:
    return NOTHING if value is None else format(value, style)


def _measured(entries: list[Mapping[str, Any]]) -> int:
    """How many of these languages were evaluated: the averages are over them."""
    return sum(_get(entry, "bits_per_byte", "after") is not None for entry in entries)


def _average(entries: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Average what was measured; tokens are summed, epochs averaged."""

    def mean(metric: str, when: str) -> float | None:
        values = [value for entry in entries if (value := _get(entry, metric, when)) is not None]
        return math.fsum(values) / len(values) if values else None

    return {
        "bits_per_byte": {
            when: mean("bits_per_byte", when) for when in ("before", "after", "reference_xz")
        },
        "lexicon_accuracy": {when: mean("lexicon_accuracy", when) for when in ("before", "after")},
        "tokens": sum(entry["tokens"] for entry in entries),
        "epochs": math.fsum(entry["epochs"] for entry in entries) / len(entries),
    }
