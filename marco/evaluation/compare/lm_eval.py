"""Reading what lm-eval itself writes: ``results_<date>.json``, ``samples_<task>_<date>.jsonl``."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marco.errors import DataError
from marco.evaluation.compare.configs import flat
from marco.evaluation.compare.families import stem
from marco.evaluation.compare.run import Run
from marco.evaluation.intervals import Z95
from marco.evaluation.items import Item, content_id
from marco.evaluation.rows import Row
from marco.evaluation.suite.languages import TaskLanguages, task_languages
from marco.languages import get

_RESULTS = re.compile(r"(.*)_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.?\d*)\.json")
_SAMPLES = re.compile(r"samples_(.*)_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.?\d*)\.jsonl")


class _Task(NamedTuple):
    name: str
    family: str
    language: str


def is_lm_eval(path: Path) -> bool:
    """Return whether a path is an lm-eval results or samples file, or a folder of these."""
    return _newest(path) is not None or bool(_samples(path, None))


def read_lm_eval(path: Path) -> Run:
    """Read an evaluation that lm-eval wrote; of a folder the newest one.

    A task's language is in its YAML, which results have with them, or read off its name
    (`marco.evaluation.suite.languages`). Tasks that differ by their language alone are one task;
    one whose language isn't known is left out.

    Raises:
        DataError: no task of it has a language.
        KeyError, ValueError: a file is not of lm-eval's form.
    """
    results = _newest(path)
    date = None
    document: dict[str, Any] = {}
    if results is not None:
        match = _RESULTS.fullmatch(results.name)
        date = match[2] if match else None
        document = json.loads(results.read_text(encoding="utf-8"))
    place = path if results is None else results.parent
    samples = _samples(place, date)
    named = dict.fromkeys([*document.get("results", {}), *(task for _, task in samples)])
    configs = document.get("configs", {})
    languages = {task: task_languages(task, configs.get(task)) for task in named}
    known = {task: found for task, found in languages.items() if found.language is not None}
    if not known:
        raise DataError(f"{path}: of none of its tasks the language is known.")
    tasks = _tasks(known)
    items = [item for file, task in samples if task in tasks for item in _items(file, tasks[task])]
    rows = list(_rows(document, tasks) if document else _rows_of(items, tasks))
    return Run(
        name=str(document.get("model_name") or path.stem),
        rows=rows,
        items=items,
        config=flat({"lm_eval": document["config"]}) if document.get("config") else {},
        families={name: task.family for name, task in tasks.items()},
    )


def _tasks(languages: Mapping[str, TaskLanguages]) -> dict[str, _Task]:
    """A task's family is its name without its languages; where that is two tasks, its name."""
    stems = {}
    for name, of in languages.items():
        words = [each for each in (of.language, of.source, of.target) if each]
        stems[name] = stem(name, *words), str(of.language)
    times = Counter(stems.values())
    return {
        name: _Task(name, name if times[family, language] > 1 else family, language)
        for name, (family, language) in stems.items()
    }


def _newest(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix == ".json" and '"results"' in path.read_text("utf-8") else None
    found = [each for each in path.rglob("results_*.json") if _RESULTS.fullmatch(each.name)]
    return max(found, key=lambda each: each.name, default=None)


def _samples(place: Path, date: str | None) -> list[tuple[Path, str]]:
    """The samples files of one evaluation, and their tasks; without a date those of the newest."""
    there = [place] if place.is_file() else sorted(place.rglob("samples_*.jsonl"))
    named = [(each, match) for each in there if (match := _SAMPLES.fullmatch(each.name))]
    date = date or max((match[2] for _, match in named), default=None)
    return [(each, match[1]) for each, match in named if match[2] == date]


def _items(file: Path, task: _Task) -> Iterator[Item]:
    documents: dict[int, list[dict[str, Any]]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        documents.setdefault(int(sample["doc_id"]), []).append(sample)
    filters = {sample["filter"] for found in documents.values() for sample in found}
    for found in documents.values():
        metrics: dict[str, float] = {}
        for sample in found:
            for metric in sample["metrics"]:
                name = metric if len(filters) == 1 else f"{metric},{sample['filter']}"
                metrics |= _numbers(name, sample[metric])
        yield Item(task.name, task.language, content_id(found[0]["doc"]), metrics)


def _numbers(metric: str, value: Any) -> dict[str, float]:
    """A sample's number; of a likelihood over a length both; nothing of what a corpus is made."""
    if isinstance(value, bool | int | float):
        return {metric: float(value)}
    if metric == "bits_per_byte" and isinstance(value, Sequence) and len(value) == 2:
        return {f"{metric}:loglikelihood": float(value[0]), f"{metric}:length": float(value[1])}
    return {}


def _rows(document: Mapping[str, Any], tasks: Mapping[str, _Task]) -> Iterator[Row]:
    for name, values in document["results"].items():
        if name not in tasks or name in document.get("groups", {}):
            continue
        n = int(document["n-samples"][name]["effective"])
        measured = {key: value for key, value in values.items() if "," in key}
        plain = [key.partition(",")[0] for key in measured]
        for key, value in measured.items():
            metric, _, filtered = key.partition(",")
            if metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            spread = values.get(f"{metric}_stderr,{filtered}")
            stderr = float(spread) if isinstance(spread, int | float) else None
            shown = metric if plain.count(metric) == 1 else key
            yield _row(tasks[name], shown, float(value), n, stderr)


def _rows_of(items: Sequence[Item], tasks: Mapping[str, _Task]) -> Iterator[Row]:
    """Rows of samples alone: the means of what each item has a number of."""
    found: dict[tuple[str, str], list[float]] = {}
    for item in items:
        for metric, value in item.metrics.items():
            if ":" not in metric:
                found.setdefault((item.task, metric), []).append(value)
    for (name, metric), values in found.items():
        yield _row(tasks[name], metric, math.fsum(values) / len(values), len(values), None)


def _row(task: _Task, metric: str, value: float, n: int, stderr: float | None) -> Row:
    half = None if stderr is None else Z95 * stderr
    return Row(
        task=task.family,
        language=task.language,
        group=get(task.language).group,
        metric=metric,
        value=value,
        n=n,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        stderr=stderr,
    )
