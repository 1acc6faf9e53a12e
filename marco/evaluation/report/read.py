"""Reading a run's folder for its report: whatever of it is there, of a run that goes on too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from marco.config.earlier import FAILED, PRUNED
from marco.errors import DataError
from marco.evaluation.history import Evaluation, read_history
from marco.evaluation.report.log_file import Log, read_log
from marco.evaluation.results.table import AGGREGATES_STEM, read_aggregates
from marco.evaluation.summary import TrainingFacts, build_summary

SAMPLES = "samples.jsonl"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """What is known of a run.

    Attributes:
        name: its folder, and the one that is in.
        config: resolved; ``config_text`` is the file.
        overrides: of the command line, one list for each time it was started.
        summary: ``summary.json``'s; of a run that has not ended, the same worked out from its logs.
        finished: whether the summary is that of the end.
        ended: how it ended, where that was before its end and is known: it failed, or was pruned.
        history: the evaluations.
        metrics: the lines of ``metrics.jsonl``, by rising tokens.
        intervals: {(task, metric): 95 % interval of the mean over languages}, of the last
            evaluation.
        log: what its log says.
        samples: the lines of ``samples.jsonl``.
    """

    name: str
    config: Mapping[str, Any]
    config_text: str
    overrides: Sequence[Sequence[str]]
    summary: Mapping[str, Any]
    finished: bool
    ended: str | None
    history: Sequence[Evaluation]
    metrics: Sequence[Mapping[str, Any]]
    intervals: Mapping[tuple[str, str], tuple[float, float]]
    log: Log
    samples: Sequence[Mapping[str, Any]]


def read_run(folder: Path) -> RunFolder:
    """Read a run's folder.

    Raises:
        DataError: it is no run's folder, or one of its files is damaged.
    """
    if not (folder / "config.yaml").is_file():
        raise DataError(f"{folder} is not a run's folder: it has no config.yaml.")
    try:
        return _read(folder)
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise DataError(f"{folder} cannot be read: {type(error).__name__}: {error}") from error


def _read(folder: Path) -> RunFolder:
    text = (folder / "config.yaml").read_text(encoding="utf-8")
    history = read_history(folder)
    lines = _lines(folder / "metrics.jsonl")
    metrics = sorted((line for line in lines if "tokens" in line), key=lambda line: line["tokens"])
    summary = _summary(folder / "summary.json", metrics)
    last = folder / "evaluations" / (f"step-{history[-1].step:08d}" if history else "")
    resolved = folder.resolve()
    return RunFolder(
        name=f"{resolved.parent.name}/{resolved.name}",
        config=yaml.safe_load(text) or {},
        config_text=text,
        overrides=_overrides(folder / "overrides.txt"),
        summary=summary or build_summary(_facts(metrics), history, {}),
        finished=summary is not None,
        ended=_ended(folder),
        history=history,
        metrics=metrics,
        intervals=_intervals(last),
        log=read_log(folder / "log.txt"),
        samples=list(_lines(folder / SAMPLES)),
    )


def _ended(folder: Path) -> str | None:
    if (folder / PRUNED).is_file():
        return "pruned"
    failed = folder / FAILED
    return f"failed: {failed.read_text(encoding='utf-8').strip()}" if failed.is_file() else None


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Records of a JSONL file; a line that a kill has torn is left out."""
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _summary(path: Path, metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The summary, unless the run was resumed for a larger budget since it was written."""
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    trained = metrics[-1]["tokens"] if metrics else 0
    return found if found["train"]["tokens"] >= trained else None


def _facts(metrics: Sequence[Mapping[str, Any]]) -> TrainingFacts:
    last: dict[str, Any] = {}
    for line in metrics:
        last |= {key: value for key, value in line.items() if value is not None}

    def counts(field: str) -> dict[str, Any]:
        start = f"data/{field}/"
        return {k.removeprefix(start): v for k, v in last.items() if k.startswith(start)}

    tokens, epochs = counts("tokens"), counts("epochs")
    languages = {code: {"tokens": tokens[code], "epochs": epochs.get(code, 0.0)} for code in tokens}
    return TrainingFacts(
        tokens=last.get("tokens", 0),
        seconds=last.get("train/seconds", 0.0),
        peak_memory_bytes=last.get("train/peak_memory_bytes"),
        language_tokens=tokens,
        language_epochs=epochs,
        ledger={"languages": languages},
    )


def _intervals(folder: Path) -> dict[tuple[str, str], tuple[float, float]]:
    if not (folder / f"{AGGREGATES_STEM}.parquet").is_file():
        return {}
    return {
        (each["task"], each["metric"]): (each["low"], each["high"])
        for each in read_aggregates(folder)
        if each["over"] == "languages" and not each["corrected"] and each["low"] is not None
    }


def _overrides(path: Path) -> list[list[str]]:
    """The file has a line an override; what a resume was given begins with its ``resume=``."""
    started: list[list[str]] = [[]]
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        if line.startswith("resume="):
            started.append([])
        started[-1].append(line)
    return started
