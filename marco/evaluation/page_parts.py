"""What marco's HTML pages share: their look, tables, and data for their scripts. No network."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --ink: #1d2430; --dim: #667080; --line: #dde2ea; --back: #fff;
  --card: #f6f8fb; --better: #00724f; --worse: #b3261e; --changed: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --dim: #9aa4b2; --line: #333b48;
  --back: #14181f; --card: #1b212b; --better: #4fd1a5; --worse: #ff8a80; --changed: #f0b95b; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 68rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 600; color: var(--dim); }
th, td { padding: .22rem .6rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0;
  background: var(--back); }
details th:first-child, details td:first-child { background: var(--card); }
td.key { white-space: normal; overflow-wrap: break-word; max-width: 24rem; }
details { background: var(--card); border-radius: .5rem; padding: .5rem .8rem; margin: .5rem 0; }
summary { cursor: pointer; }
.better { color: var(--better); } .worse { color: var(--worse); }
.changed { color: var(--changed); }
td.better, td.worse, td.changed { font-weight: 600; }
.dim { color: var(--dim); font-size: 12px; }
"""


def document(title: str, style: str, body: str) -> str:
    """Return a whole page; ``title`` is text, ``style`` is added to `STYLE`, ``body`` is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>"
        f"{body}</body></html>\n"
    )


def table(
    head: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    wrap: bool = False,
    tall: bool = False,
) -> str:
    """Return a table of texts that scrolls sideways where it must.

    ``wrap``: long texts are broken; ``tall``: it may scroll down too.
    """
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    rows = "".join(f"<tr>{cells(line, ' class=key' * wrap)}</tr>" for line in lines)
    box = "scroll tall" if tall else "scroll"
    return f'<div class="{box}"><table><tr>{titles}</tr>{rows}</table></div>'


def cells(values: Iterable[str], attribute: str = "") -> str:
    """Return texts as the cells of a row."""
    return "".join(f"<td{attribute}>{escape(value)}</td>" for value in values)


def data(name: str, value: Any) -> str:
    """Return a value as JSON for the page's script, under the id ``name``; no text can end it.

    Raises:
        ValueError: a number that JSON has not, such as NaN.
    """
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    safe = text.replace("<", "\\u003c")
    return f'<script type="application/json" id="{escape(name)}">{safe}</script>'
