"""What was swept: runs that differ by their seed alone are one setting, named by what differs."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from marco.evaluation.compare.configs import SEED, as_text, is_of_setting, setting_of
from marco.evaluation.ranking.runs import SweepRun
from marco.evaluation.task_table import NOTHING


@dataclass(frozen=True)
class Setting:
    """Runs of one setting.

    Attributes:
        values: of the swept keys, as text.
        runs: those that finished.
        failed: those that did not.
    """

    values: Sequence[str]
    runs: Sequence[SweepRun]
    failed: Sequence[SweepRun]


def settings_of(runs: Sequence[SweepRun]) -> tuple[list[str], list[Setting]]:
    """Return the swept keys, and the settings in the order of their first runs.

    Swept is what differs of the overrides, a group's choice (``mix=uniform``) or a value, which is
    read from the config: an override that only says the default is none. Where the overrides do
    not tell two settings apart, keys of the config that do come after them. Of two runs of one
    setting and seed the later one counts, the other one is among those that failed.
    """
    found: list[tuple[dict[str, Any], list[SweepRun]]] = []
    for run in runs:
        if not run.config:
            continue
        setting = setting_of(run.config)
        same = next((group for known, group in found if known == setting), None)
        if same is not None:
            same.append(run)
        else:
            found.append((setting, [run]))
    together = [_once(group) for _, group in found]
    keys = _swept([group[0] for group in together])
    return keys, [
        Setting(
            [value_of(group[0], key) for key in keys],
            [run for run in group if run.problem is None],
            [run for run in group if run.problem is not None],
        )
        for group in together
    ]


def value_of(run: SweepRun, key: str) -> str:
    """Return what a run has of a key: its config's value, or the choice of a group."""
    if key in run.config:
        return as_text(run.config[key])
    return _by_key(run.overrides).get(key, NOTHING)


def command(setting: Setting) -> str:
    """Return the command line that trains a setting again, quoted for a shell.

    The seed is left out if the setting has several, and so is a ready sweep. A secret was not
    saved: it stands there as ``<redacted>``.
    """
    run = setting.runs[0]
    seeds = {other.config.get(SEED) for other in (*setting.runs, *setting.failed)}
    dropped = {"resume", "sweep", *([SEED] if len(seeds) > 1 else [])}
    kept = {text.partition("=")[0]: text for text in run.overrides}
    words = [text for key, text in kept.items() if key.lstrip("+") not in dropped]
    return shlex.join(["python", "train.py", *words])


def _once(group: Sequence[SweepRun]) -> list[SweepRun]:
    last = {run.config.get(SEED): run for run in group if run.problem is None}
    return [
        replace(run, problem=f"of the same setting and seed as {other.name}, which is newer")
        if run.problem is None and (other := last[run.config.get(SEED)]) is not run
        else run
        for run in group
    ]


def _swept(runs: Sequence[SweepRun]) -> list[str]:
    overridden = dict.fromkeys(key for run in runs for key in _by_key(run.overrides))
    keys = [
        key
        for key in overridden
        if is_of_setting(key) and len({value_of(run, key) for run in runs}) > 1
    ]
    for key in dict.fromkeys(key for run in runs for key in run.config):
        named: dict[tuple[str, ...], list[SweepRun]] = {}
        for run in runs:
            named.setdefault(tuple(value_of(run, key) for key in keys), []).append(run)
        alike = [same for same in named.values() if len(same) > 1]
        if is_of_setting(key) and any(
            len({value_of(run, key) for run in same}) > 1 for same in alike
        ):
            keys.append(key)
    return keys


def _by_key(overrides: Sequence[str]) -> Mapping[str, str]:
    parts = (text.partition("=") for text in overrides)
    return {key.lstrip("+"): value for key, _, value in parts if key != "resume"}
