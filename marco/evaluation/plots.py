"""The run's plots, for the README, the W&B page and the run's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from marco.evaluation.heatmap_plot import heatmap
from marco.evaluation.history import Evaluation
from marco.evaluation.loss_plot import losses
from marco.evaluation.rows import measured


def write_plots(folder: Path, history: Sequence[Evaluation]) -> list[Path]:
    """Write the plots of a run into ``<folder>/plots`` and return those there was data for.

    - ``loss_per_language.png``: held-out bits per byte over tokens.
    - ``training_loss_per_language.png``: ``train/loss/<language>`` of ``metrics.jsonl``, smoothed.
      With fewer than two evaluations it is the loss there is, and takes the other's name.
    - ``heatmap.png``: language × evaluation.
    """
    plots = folder / "plots"
    held_out = held_out_series(history)
    over_time = any(len(points) > 1 for points in held_out.values())
    main = plots / "loss_per_language.png"
    training = plots / "training_loss_per_language.png" if over_time else main
    table = plots / "heatmap.png"
    written = {
        main: over_time and losses(main, held_out, "Held-out bits per byte"),
        training: losses(training, training_series(folder), "Training loss, nats per token"),
        table: heatmap(table, history),
    }
    return [path for path, done in written.items() if done]


def held_out_series(history: Sequence[Evaluation]) -> dict[str, list[tuple[float, float]]]:
    """Return bits per byte over tokens, by language."""
    series: dict[str, list[tuple[float, float]]] = {}
    for evaluation in history:
        for language, value in measured(evaluation.rows, "bits_per_byte").items():
            series.setdefault(language, []).append((evaluation.tokens, value))
    return series


def training_series(folder: Path, points: int = 25) -> dict[str, list[tuple[float, float]]]:
    """Read ``train/loss/<language>`` of ``metrics.jsonl``, averaged over ``points`` stretches."""
    path = folder / "metrics.jsonl"
    prefix = "train/loss/"
    raw: dict[str, list[tuple[float, float]]] = {}
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(text)
            except ValueError:  # the torn last line of a run that was killed
                continue
            for key, value in record.items():
                if key.startswith(prefix) and value is not None and math.isfinite(value):
                    language = key.removeprefix(prefix)
                    raw.setdefault(language, []).append((record.get("tokens", 0), value))
    return {language: _smooth(values, points) for language, values in raw.items()}


def _smooth(values: Sequence[tuple[float, float]], points: int) -> list[tuple[float, float]]:
    size = max(1, -(-len(values) // points))
    stretches = [values[at : at + size] for at in range(0, len(values), size)]
    return [
        (
            math.fsum(tokens for tokens, _ in stretch) / len(stretch),
            math.fsum(value for _, value in stretch) / len(stretch),
        )
        for stretch in stretches
    ]
