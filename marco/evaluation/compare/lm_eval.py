"""Reading what lm-eval itself writes: ``results_<date>.json``, ``samples_<task>_<date>.jsonl``."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from marco.errors import DataError
from marco.evaluation.compare.configs import flat
from marco.evaluation.compare.families import stem
from marco.evaluation.compare.run import Run
from marco.evaluation.intervals import Z95
from marco.evaluation.items import Item, content_id
from marco.evaluation.rows import Row
from marco.evaluation.suite.languages import task_languages
from marco.languages import get

_RESULTS = re.compile(r"(.*)_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.?\d*)\.json")
_SAMPLES = re.compile(r"samples_(.*)_(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.?\d*)\.jsonl")


def is_lm_eval(path: Path) -> bool:
    """Return whether a path is an lm-eval results or samples file, or a folder of these."""
    return _newest(path) is not None or bool(_samples(path, None))


def read_lm_eval(path: Path) -> Run:
    """Read an evaluation that lm-eval wrote; of a folder the newest one.

    A task's language is read off its name (`marco.evaluation.suite.languages`); tasks that differ
    by their language alone are one task. A task whose language isn't known is left out.

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
    items = [item for file, task in samples for item in _items(file, task)]
    family = _families([*document.get("results", {}), *(item.task for item in items)])
    if not family:
        raise DataError(f"{path}: of none of its tasks the language is known.")
    rows = list(_rows(document, family)) if document else list(_rows_of(items, family))
    return Run(
        name=str(document.get("model_name") or path.stem),
        rows=rows,
        items=items,
        config=flat({"lm_eval": document["config"]}) if document.get("config") else {},
        families=family,
    )


def _families(tasks: Iterable[str]) -> dict[str, str]:
    """Return {task: its name without its language}; where that is no longer one task, its name."""
    found: dict[str, str] = {}
    for task in dict.fromkeys(tasks):
        languages = task_languages(task)
        if languages.language is not None:
            named = [each for each in (languages.source, languages.target) if each]
            found[task] = stem(task, languages.language, *named)
    times = Counter((name, task_languages(task).language) for task, name in found.items())
    return {
        task: task if times[name, task_languages(task).language] > 1 else name
        for task, name in found.items()
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


def _items(file: Path, task: str) -> Iterator[Item]:
    language = task_languages(task).language
    if language is None:
        return
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
        yield Item(task, language, content_id(found[0]["doc"]), metrics)


def _numbers(metric: str, value: Any) -> dict[str, float]:
    """A sample's number; of a likelihood over a length both; nothing of what a corpus is made."""
    if isinstance(value, bool | int | float):
        return {metric: float(value)}
    if metric == "bits_per_byte" and isinstance(value, Sequence) and len(value) == 2:
        return {f"{metric}:loglikelihood": float(value[0]), f"{metric}:length": float(value[1])}
    return {}


def _rows(document: Mapping[str, Any], family: Mapping[str, str]) -> Iterator[Row]:
    for task, values in document["results"].items():
        if task not in family or task in document.get("groups", {}):
            continue
        measured = {key: value for key, value in values.items() if "," in key}
        plain = [key.partition(",")[0] for key in measured]
        for key, value in measured.items():
            metric = key.partition(",")[0]
            if metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            spread = values.get(f"{metric}_stderr,{key.partition(',')[2]}")
            stderr = float(spread) if isinstance(spread, int | float) else None
            n = document.get("n-samples", {}).get(task, {}).get("effective", 0)
            name = metric if plain.count(metric) == 1 else key
            yield _row(task, family[task], name, float(value), int(n), stderr)


def _rows_of(items: Sequence[Item], family: Mapping[str, str]) -> Iterator[Row]:
    """Rows of samples alone: the means of what each item has a number of."""
    tasks: dict[str, list[Item]] = {}
    for item in items:
        tasks.setdefault(item.task, []).append(item)
    for task, mine in tasks.items():
        for metric in dict.fromkeys(name for item in mine for name in item.metrics):
            values = [item.metrics[metric] for item in mine if metric in item.metrics]
            if ":" not in metric:
                mean = math.fsum(values) / len(values)
                yield _row(task, family[task], metric, mean, len(values), None)


def _row(task: str, name: str, metric: str, value: float, n: int, stderr: float | None) -> Row:
    language = get(task_languages(task).language or "")
    half = None if stderr is None else Z95 * stderr
    return Row(
        task=name,
        language=language.code,
        group=language.group,
        metric=metric,
        value=value,
        n=n,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        stderr=stderr,
    )
