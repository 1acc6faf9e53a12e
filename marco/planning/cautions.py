"""What in a plan deserves a second look before a device is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marco.config import RunSettings
from marco.planning.options import PlanOptions

MAX_EPOCHS = 4.0  # repeated text is nearly as good as new up to here (arXiv 2305.16264)
MAX_LOST = 0.1  # of a source's tokens, to padding or truncation
MAX_RISE = 2.0  # of the peak learning rate over the base model's last
MAX_TOKENS_A_CHARACTER = 1.0  # above it, letters are in pieces


def warnings_of(
    run: RunSettings,
    options: PlanOptions,
    stages: Sequence[Mapping[str, Any]],
    languages: Mapping[str, Mapping[str, Any]],
    memory: Mapping[str, Any],
) -> list[str]:
    """One sentence each, gravest first."""
    return [
        *_memory(memory),
        *_epochs(languages),
        *_small_shares(run, stages),
        *_fertility(options, languages),
        *_learning_rate(run, options),
        *_lost(languages),
    ]


def _memory(memory: Mapping[str, Any]) -> list[str]:
    if memory["fits"] is not False:
        return []
    total, there = (memory[key] / 1e9 for key in ("total", "device_memory"))
    return [
        (
            f"memory: {total:,.1f} GB do not fit into a device's {there:,.0f} GB "
            "(trainer=fsdp2, more devices, batch.micro_sequences, trainer.gradient_checkpointing)"
        )
    ]


def _epochs(languages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = {code: one["epochs"] for code, one in languages.items() if one["epochs"] > MAX_EPOCHS}
    if not found:
        return []
    return [f"more than {MAX_EPOCHS:g} epochs: {_listed(found, '{:.1f}')}"]


def _small_shares(run: RunSettings, stages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Smallest first; a language that a stage leaves out is not meant to be there."""
    least = 1 / run.batch.sequences
    found: dict[str, float] = {}
    for stage in stages:
        for code, one in stage["languages"].items():
            if 0 < one["share"] < least:
                found[code] = min(one["share"], found.get(code, 1.0))
    if not found:
        return []
    listed = _listed(found, "{:.2%}", smallest=True)
    where = " in a stage" if len(stages) > 1 else ""
    return [
        (
            f"less than one sequence a step (a share of {least:.2%}){where}: {listed}; "
            "losses of such a language are not of every step"
        )
    ]


def _fertility(options: PlanOptions, languages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    limit = options.max_fertility
    high = {
        code: one["fertility"]
        for code, one in languages.items()
        if one["fertility"] is not None and one["fertility"] > limit
    }
    pieces = {
        code: one["tokens_per_character"]
        for code, one in languages.items()
        if (one["tokens_per_character"] or 0) > MAX_TOKENS_A_CHARACTER
    }
    found = []
    if high:
        listed = _listed(high, "{:.1f}")
        found.append(f"fertility above {limit:g} (tokens for one of English): {listed}")
    if pieces:
        listed = _listed(pieces, "{:.2f}")
        found.append(f"more tokens than characters, so letters are cut to bytes: {listed}")
    return found


def _learning_rate(run: RunSettings, options: PlanOptions) -> list[str]:
    base, peak = options.base_learning_rate, run.optimizer.lr
    if base is None or peak <= MAX_RISE * base:
        return []
    return [
        (
            f"optimizer.lr={peak:g} is {peak / base:.1f} × base_learning_rate={base:g}, with which "
            "the base model's training ended: expect it to forget"
        )
    ]


def _lost(languages: Mapping[str, Mapping[str, Any]]) -> list[str]:
    padded = {
        code: 1 - one["fill"] for code, one in languages.items() if 1 - one["fill"] > MAX_LOST
    }
    lost = {
        code: one["truncated"]
        for code, one in languages.items()
        if (one["truncated"] or 0) > MAX_LOST  # None: no text to know it from
    }
    found = [f"padding above {MAX_LOST:.0%}: {_listed(padded, '{:.0%}')}"] if padded else []
    if lost:
        found.append(
            f"truncation above {MAX_LOST:.0%} (tokens in another window than their document's "
            f"beginning; batch.packing=best_fit has the fewest): {_listed(lost, '{:.0%}')}"
        )
    return found


def _listed(
    values: Mapping[str, float], style: str, most: int = 8, *, smallest: bool = False
) -> str:
    """The largest (or smallest) first, and how many more there are."""
    ranked: Sequence[str] = sorted(values, key=values.__getitem__, reverse=not smallest)
    shown = ", ".join(f"{code} {style.format(values[code])}" for code in ranked[:most])
    more = len(ranked) - most
    return f"{shown} and {more} more" if more > 0 else shown
