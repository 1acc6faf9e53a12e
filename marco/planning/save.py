"""A plan as files: plan.json, plan.png, and plan.html, which needs neither network nor folder."""

from __future__ import annotations

import base64
import html
import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from marco.errors import ConfigError
from marco.planning.plot import plot_plan
from marco.planning.report import plan_tables

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{name}</title>
<style>body {{ font: 15px sans-serif; margin: 2em; }} img {{ max-width: 100%; }}
pre {{ font: 13px monospace; overflow-x: auto; }}</style>
</head>
<body>
<h1>{name}</h1>
<img alt="Shares, learning rate and epochs" src="data:image/png;base64,{image}">
<pre>{text}</pre>
</body>
</html>
"""


def writable(folder: Path) -> None:
    """Make the folder, before the plan is worked out. Raises ConfigError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(f"save={folder} cannot be written to: {error}") from error


def save_plan(plan: Mapping[str, Any], folder: Path) -> None:
    """Write the three files. Raises ConfigError where the folder cannot be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        plot_plan(folder / "plan.png", plan)
        _write(folder / "plan.json", json.dumps(plan, indent=2, ensure_ascii=False) + "\n")
        _write(folder / "plan.html", page(plan, (folder / "plan.png").read_bytes()))
    except OSError as error:
        raise ConfigError(f"save={folder} cannot be written to: {error}") from error


def page(plan: Mapping[str, Any], image: bytes) -> str:
    """The HTML, its picture (a PNG) inside."""
    paper = Console(width=110, record=True, file=io.StringIO(), highlight=False)
    paper.print(plan_tables(plan))
    return _PAGE.format(
        name=html.escape(f"Plan of {plan['name']}"),
        image=base64.b64encode(image).decode(),
        text=html.escape(paper.export_text()),
    )


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
