"""The hub when it cannot be reached: found out once, in seconds, and said in one sentence.

``datasets`` tries each data set six times over 23 s (measured, no name server); a sweep of
122 tasks would spend most of an hour on that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import datasets
import huggingface_hub
from datasets.exceptions import DatasetGenerationError, DatasetNotFoundError
from huggingface_hub import constants

_PROBE_SECONDS = 5.0
_REMEMBERED_SECONDS = 300.0

_last: dict[str, tuple[float, bool]] = {}


@contextmanager
def quick_hub(needed: bool) -> Iterator[None]:
    """Without progress bars; with the hub out of reach, ``datasets`` looks in its cache only."""
    bars = datasets.are_progress_bars_disabled()
    offline = (constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE)
    datasets.disable_progress_bars()
    try:
        if needed and not any(offline) and not reachable():
            constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = offline
        if not bars:
            datasets.enable_progress_bars()


def reachable() -> bool:
    """Whether the hub answers within 5 s; the answer holds for 5 minutes."""
    asked, answer = _last.get(constants.ENDPOINT, (-_REMEMBERED_SECONDS, False))
    if time.monotonic() - asked < _REMEMBERED_SECONDS:
        return answer
    try:
        huggingface_hub.get_session().head(constants.ENDPOINT, timeout=_PROBE_SECONDS)
        answer = True
    except Exception:  # whatever the HTTP client of the day raises
        answer = False
    _last[constants.ENDPOINT] = (time.monotonic(), answer)
    return answer


def reason(error: BaseException, config: Mapping[str, Any]) -> str:
    """Return in a sentence or two why a task's data could not be had."""
    path = config.get("dataset_path")
    if isinstance(error, DatasetGenerationError) and error.__cause__ is not None:
        error = error.__cause__  # itself it says nothing
    text = next(iter(str(error).splitlines()), "").partition(" with any supported extension")[0]
    if isinstance(error, ConnectionError):
        unreachable = f"the hub ({constants.ENDPOINT}) cannot be reached"
        off = "HF_HUB_OFFLINE forbids the hub" if constants.HF_HUB_OFFLINE else unreachable
        return (
            f"the data set {path} is not in the local cache, and {off}. Give a local copy with "
            "evaluation.data_dir=."
        )
    if "scripts are no longer supported" in text:
        return (
            f"the data set {path} is a script on the hub, and scripts are no longer run. Give its "
            "data as parquet or jsonl with evaluation.data_dir=."
        )
    if isinstance(error, DatasetNotFoundError):
        gated = "gated" in text
        what = "wants you to accept its terms and log in" if gated else "is not on the hub"
        return f"the data set {path} {what}: {text}"
    if isinstance(error, StopIteration):
        return f"the data set {path} has no documents."
    return f"{type(error).__name__}: {text}" + (f" (data set {path})" if path else "")
