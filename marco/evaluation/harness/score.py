"""Responses → the values of a task's metrics, and one item for each of its documents."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lm_eval.api.metrics import mean

from marco.evaluation.harness.prepared import PreparedTask
from marco.evaluation.items import Item, content_id


@dataclass(frozen=True)
class Scored:
    """What a task's documents gave.

    Attributes:
        values: metric → its value of every document, in the task's own form: a number, or what
            its aggregation takes, such as (reference, hypothesis).
        aggregates: metric → the task's own aggregate of these; as in lm-eval the mean where it
            names none.
        chance: metric → what guessing would give; accuracies of multiple choice alone.
        items: one a document.
    """

    values: Mapping[str, Sequence[Any]]
    aggregates: Mapping[str, float]
    chance: Mapping[str, float]
    items: Sequence[Item]


@dataclass
class _Document:
    """The instances of one document, and what is found in them."""

    doc: Any
    instances: list[Any]
    metrics: dict[str, Any] = field(default_factory=dict)


def score(prepared: PreparedTask, responses: Sequence[Sequence[Any]]) -> Scored:
    """Let the task filter the responses, and measure.

    A metric of a task with several filters is called ``metric,filter``.

    Raises:
        ArithmeticError: a log-likelihood is no number.
        Whatever the task raises.
    """
    task = prepared.task
    instances = [
        replace(request, resps=list(found), filtered_resps={})
        for request, found in zip(prepared.requests, responses, strict=True)
    ]
    _check_numbers(prepared, instances)
    task._instances = instances
    task.apply_filters()
    documents = list(_documents(instances))
    filters = list(instances[0].filtered_resps)
    for document in documents:
        for name in filters:
            results = [instance.filtered_resps[name] for instance in document.instances]
            for metric, value in task.process_results(document.doc, results).items():
                document.metrics[metric if len(filters) == 1 else f"{metric},{name}"] = value
    values: dict[str, list[Any]] = {}
    for document in documents:
        for metric, value in document.metrics.items():
            if _wanted(prepared, metric):
                values.setdefault(metric, []).append(value)
    if not values:
        has = ", ".join(dict.fromkeys(m for d in documents for m in d.metrics))
        raise ValueError(f"none of the metrics {', '.join(prepared.metrics or ())}; it has {has}")
    functions = task.aggregation()
    return Scored(
        values=values,
        aggregates={m: float(functions.get(_plain(m), mean)(found)) for m, found in values.items()},
        chance=_chance(task, documents, values),
        items=[_item(prepared, document) for document in documents],
    )


def _plain(metric: str) -> str:
    return metric.partition(",")[0]


def _wanted(prepared: PreparedTask, metric: str) -> bool:
    return (
        prepared.metrics is None
        or metric in prepared.metrics
        or (_plain(metric) in prepared.metrics)
    )


def _documents(instances: Sequence[Any]) -> Iterator[_Document]:
    found: dict[Any, _Document] = {}
    for instance in instances:
        found.setdefault(instance.doc_id, _Document(instance.doc, [])).instances.append(instance)
    for document in found.values():
        document.instances.sort(key=lambda instance: instance.idx)
        yield document


def _check_numbers(prepared: PreparedTask, instances: Sequence[Any]) -> None:
    """A choice among NaN would be the first option, and look like a measurement."""
    bad = sum(math.isnan(value) for instance in instances for value in _likelihoods(instance))
    if bad:
        raise ArithmeticError(f"{bad} of {len(instances)} log-likelihoods are not numbers")


def _likelihoods(instance: Any) -> list[float]:
    if instance.request_type == "generate_until":
        return []
    return [float(r[0]) if isinstance(r, tuple | list) else float(r) for r in instance.resps]


def _chance(
    task: Any, documents: Sequence[_Document], values: Mapping[str, Any]
) -> dict[str, float]:
    if task.OUTPUT_TYPE != "multiple_choice" or task.multiple_target:
        return {}
    shares = [1 / len(task.doc_to_choice(document.doc)) for document in documents]
    mean = math.fsum(shares) / len(shares)
    return {metric: mean for metric in values if _plain(metric).startswith("acc")}


def _item(prepared: PreparedTask, document: _Document) -> Item:
    task, first = prepared.task, document.instances[0]
    likelihoods = [value for instance in document.instances for value in _likelihoods(instance)]
    target = task.doc_to_target(document.doc)
    prediction: str | None = None
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = task.doc_to_choice(document.doc)
        best = max(range(len(choices)), key=lambda i: likelihoods[i])
        prediction = str(choices[best])
        if isinstance(target, int) and 0 <= target < len(choices):
            target = choices[target]
    elif first.request_type == "generate_until":
        prediction = str(first.resps[0])
    return Item(
        task=prepared.name,
        language=prepared.language,
        id=content_id(document.doc),
        metrics=dict(_item_metrics(document.metrics, task.OUTPUT_TYPE)),
        prediction=prediction,
        target=None if first.request_type == "loglikelihood_rolling" else _one(target),
        loglikelihoods=tuple(likelihoods),
    )


def _one(target: Any) -> str:
    """Several references are written as one list; the first stands for them."""
    return str(target[0] if isinstance(target, list | tuple) and target else target)


def _item_metrics(metrics: Mapping[str, Any], kind: str) -> Iterator[tuple[str, float]]:
    """A document's numbers; of a likelihood over a length both, under ``metric:…``."""
    for metric, value in metrics.items():
        if isinstance(value, int | float):
            yield metric, float(value)
        elif kind == "loglikelihood_rolling":
            yield f"{metric}:loglikelihood", float(value[0])
            yield f"{metric}:length", float(value[1])
