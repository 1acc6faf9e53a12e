"""Run folders with numbers known in advance, as training leaves them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from marco.evaluation.history import Evaluation, write_history
from marco.evaluation.rows import Row
from marco.evaluation.summary import TrainingFacts, build_summary, write_summary
from marco.languages import get

LANGUAGES = ("eng", "cmn", "arb", "swh")
TOKENS = {"eng": 1000, "cmn": 2000, "arb": 3000, "swh": 4000}
EPOCHS = {"eng": 0.5, "cmn": 1.25, "arb": 2.0, "swh": 7.5}
#: Bits per byte at the evaluations: Arabic gains most, Swahili loses.
BITS = {
    "eng": (4.0, 3.0, 2.5),
    "cmn": (6.0, 5.0, 4.75),
    "arb": (8.0, 4.0, 3.0),
    "swh": (3.0, 3.5, 3.25),
}
LOG = (
    "2026-01-02 03:04:05,678 INFO marco.training.assemble: Model: qwen2, 12,345 parameters.\n"
    "2026-01-02 03:04:05,678 WARNING marco.data: Short <text>:\nthe second line\n"
    "2026-01-02 03:04:06,678 INFO marco.data: nothing to say\n"
    "2026-01-02 03:04:07,678 WARNING callbacks: It is late.\n"
    "2026-01-02 03:04:08,678 WARNING callbacks: It is late.\n"
)


def row(code: str, value: float | None, task: str = "likelihood", **fields: Any) -> Row:
    metric = fields.pop("metric", "bits_per_byte")
    return Row(task, code, get(code).group, metric, value, 5, **fields)


def bits(at: int) -> list[Row]:
    return [row(code, values[at]) for code, values in BITS.items()]


def history(*more: Row) -> list[Evaluation]:
    """Three evaluations; the last one has ``more`` rows too."""
    rows = [tuple(bits(at)) for at in range(3)]
    rows[-1] += more
    return [Evaluation(5 * at, 5000 * at, found) for at, found in enumerate(rows)]


def sample(code: str, text: str = "and on", **fields: Any) -> dict[str, Any]:
    made = {"step": 10, "tokens": 10_000, "language": code, "prompt": "It goes ", "text": text}
    return {**made, "reference": "as it was", "wrong_language": None, **fields}


def write_run(
    folder: Path,
    evaluations: Sequence[Evaluation] | None = None,
    *,
    summary: bool = True,
    overrides: Sequence[str] = ("experiment=udhr_tiny", "tokens=10_000"),
    config: Mapping[str, Any] | None = None,
    samples: Sequence[Mapping[str, Any]] = (),
) -> Path:
    folder.mkdir(parents=True)
    made = history() if evaluations is None else evaluations
    config = {"seed": 1, "name": "udhr_tiny"} if config is None else config
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(config)))
    (folder / "overrides.txt").write_text("".join(f"{line}\n" for line in overrides))
    (folder / "log.txt").write_text(LOG)
    write_history(folder, made)
    metrics = [
        {
            "step": step,
            "tokens": 1000 * step,
            "train/loss": 8 / step,
            **{f"train/loss/{code}": 9 / step for code in LANGUAGES},
            **{f"data/tokens/{code}": TOKENS[code] * step / 10 for code in LANGUAGES},
            **{f"data/epochs/{code}": EPOCHS[code] * step / 10 for code in LANGUAGES},
            "train/tokens_per_second": 2000.0,
            "train/peak_memory_bytes": 3_210_000_000,
            "train/seconds": step / 2,
        }
        for step in range(1, 11)
    ]
    lines = [json.dumps(line) + "\n" for line in metrics]
    (folder / "metrics.jsonl").write_text("".join(lines) + '{"step": 11, "tok')
    if samples:
        written = [json.dumps(each, ensure_ascii=False) + "\n" for each in samples]
        (folder / "samples.jsonl").write_text("".join(written), encoding="utf-8")
    if summary:
        counts = {code: {"tokens": TOKENS[code], "epochs": EPOCHS[code]} for code in LANGUAGES}
        facts = TrainingFacts(10_000, 5.0, 3_210_000_000, TOKENS, EPOCHS, {"languages": counts})
        write_summary(folder, build_summary(facts, made, {"eng": 2.125}))
    return folder
