"""Reading what W&B wrote into a run's folder, by the reader that W&B ships."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def read_records(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The records of the one W&B run in a run folder, by type."""
    (path,) = (folder / "wandb").glob("*run-*-*")  # not latest-run, a link
    done = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("WANDB_")},
    )
    records: dict[str, list[dict[str, Any]]] = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        records.setdefault(record["type"], []).append(record[record["type"]])
    return records


def history(records: dict[str, list[dict[str, Any]]]) -> dict[int, dict[str, Any]]:
    """Everything logged at each step, W&B's own values left out."""
    found: dict[int, dict[str, Any]] = {}
    for line in records["history"]:
        values = {key: value for key, value in line["item"].items() if key[0] != "_"}
        found.setdefault(int(line["step"].get("num", 0)), {}).update(values)
    return found


def tables(folder: Path, records: dict[str, list[dict[str, Any]]], key: str) -> list[Any]:
    """The tables logged under a key, as W&B stores them, in the order of their steps."""
    (files,) = (folder / "wandb").glob("*run-*-*/files")
    paths = [line[f"{key}.path"] for _, line in sorted(history(records).items())
             if f"{key}.path" in line]  # fmt: skip
    return [json.loads((files / path).read_text(encoding="utf-8")) for path in paths]


def column_types(records: dict[str, list[dict[str, Any]]], key: str) -> list[dict[str, Any]]:
    """The columns of each table logged under a key: name → type."""
    staged = [
        Path(entry["local_path"])
        for artifact in records["artifact"]
        for entry in artifact["manifest"]["contents"]
        if entry["path"] == f"{key}.table.json"
    ]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in staged]
    return [table["column_types"]["params"]["type_map"] for table in found]
