"""Build one task of lm-eval's or marco's, with the shots, split and data that a config asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval.api.task import Task

from marco.errors import ConfigError, DataError, MarcoError, nearest
from marco.evaluation.suite.hub import quick_hub, reason
from marco.evaluation.suite.index import configs_of, manager_of
from marco.evaluation.suite.offline import from_hub, local_data
from marco.evaluation.suite.task_set import TaskSet

#: What draws the examples of a prompt: lm-eval's own default.
FEWSHOT_SEED = 1234


def build(
    leaf: str,
    task_set: TaskSet,
    *,
    include_path: tuple[str, ...] = (),
    data_dir: Path | None = None,
    fewshot_seed: int = FEWSHOT_SEED,
) -> Task:
    """Build the task, its data loaded, ready for ``build_all_requests``.

    With ``data_dir`` its data comes from there and never from the hub.

    Raises:
        ConfigError: no such task, or a metric that it does not have.
        DataError: its data cannot be had or lacks the split; the message is the reason to report.
    """
    config = configs_of(leaf, include_path)
    changes = _changes(config, task_set)
    try:
        if data_dir is not None and from_hub(config):
            changes |= _data(config, changes, task_set, data_dir.expanduser().absolute())
        # What is written in Python may read anything.
        with quick_hub("class" in config or from_hub({**config, **changes})):
            # An inline group of one: the way in lm-eval's interface to change a task by name.
            member = {"task": leaf, **changes}
            loaded = manager_of(leaf, include_path).load({"group": "marco", "task": [member]})
    except MarcoError as error:
        raise type(error)(f"{leaf}: {error}") from error
    except Exception as error:
        raise DataError(f"{leaf}: {_why(error, config, changes)}") from error
    (task,) = loaded["tasks"].values()
    if task_set.shots is not None or task.config.num_fewshot is None:
        task.set_config(key="num_fewshot", value=task_set.shots or 0)
    task.set_fewshot_seed(seed=fewshot_seed)
    _check_metrics(task, leaf, task_set)
    return task


def _changes(config: Mapping[str, Any], task_set: TaskSet) -> dict[str, Any]:
    """Return what the task set changes of a task's config."""
    changes: dict[str, Any] = {}
    if task_set.shots is not None:
        changes["num_fewshot"] = task_set.shots
    if task_set.split is not None:
        changes["test_split"] = task_set.split
        if _fewshot_split(config) == task_set.split:
            # lm-eval keeps an item out of its own examples only where this is said.
            changes["fewshot_split"] = task_set.split
    return changes


def _data(
    config: Mapping[str, Any], changes: Mapping[str, Any], task_set: TaskSet, data_dir: Path
) -> dict[str, Any]:
    """Return what to change for the data to come from ``data_dir``."""
    if not data_dir.is_dir():
        raise ConfigError(f"evaluation.data_dir: there is no folder '{data_dir}'.")
    scored = _scored_split({**config, **changes})
    if scored is None:
        raise ConfigError("its YAML names no split to score; say split in the task set.")
    examples = _fewshot_split({**config, **changes})
    shots = (config.get("num_fewshot") or 0) if task_set.shots is None else task_set.shots
    if shots and examples not in (None, scored):
        return local_data(config, [scored, str(examples)], data_dir)
    found = local_data(config, [scored], data_dir)
    # lm-eval opens the split of the examples even for none; the scored one is there for sure.
    return found if shots else {**found, "fewshot_config": {"split": scored}}


def _scored_split(config: Mapping[str, Any]) -> str | None:
    return config.get("test_split") or config.get("validation_split")


def _fewshot_split(config: Mapping[str, Any]) -> str | None:
    """Return the split that lm-eval draws the examples from; None where it draws from none."""
    examples = config.get("fewshot_config") or {}
    split = examples.get("split") or config.get("fewshot_split")
    if split or examples.get("samples"):
        return split
    keys = ("training_split", "validation_split", "test_split")
    return next((config[key] for key in keys if config.get(key)), None)


def _why(error: Exception, config: Mapping[str, Any], changes: Mapping[str, Any]) -> str:
    asked = {**config, **changes}
    split = str(error).strip("'\"")
    if isinstance(error, KeyError) and split in (_scored_split(asked), _fewshot_split(asked)):
        return f"the data set {config.get('dataset_path')} has no split '{split}'."
    files = (changes.get("dataset_kwargs") or {}).get("data_files") or {}
    read = files.get(_scored_split(asked))
    if read:
        return reason(error, {"dataset_path": f"{config['dataset_path']} in {read[0]}"})
    return reason(error, config)


def _check_metrics(task: Task, leaf: str, task_set: TaskSet) -> None:
    has = list(task.aggregation())
    for metric in task_set.metrics or []:
        if metric.partition(",")[0] not in has:
            raise ConfigError(
                f"{leaf}: it has no metric '{metric}'.{nearest(metric, has)} It has: "
                f"{', '.join(has)}."
            )
