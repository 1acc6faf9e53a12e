"""``branch=<run>``: the other run's command line, changed by this one's overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from marco.config import diagnose
from marco.config.redact import REDACTED
from marco.config.saved import OVERRIDES, load_config
from marco.errors import ConfigError
from marco.run_folder import run_of

_EMBEDDED = "EmbeddedTokenizer"
#: What is of one run and not of another that branches off it.
_OWN = ("branch", "resume", "paths")


def with_parents(overrides: Sequence[str]) -> list[str]:
    """Return the overrides that a run which branches off another stands for.

    The parent's come first, without those of a group that is chosen anew here. A vocabulary that
    was made of the parent's text is taken from the parent. Without ``branch=`` nothing changes.

    Raises:
        ConfigError: ``branch`` names no run, or a secret of the parent's was not saved.
    """
    parser = OverridesParser.create()
    mine = diagnose.parse(overrides, parser)
    wanted = [each for each in mine if each.key_or_group == "branch" and not each.is_delete()]
    if not wanted or wanted[-1].value() is None:
        return list(overrides)
    place = str(wanted[-1].value())
    parent = parent_of(place)
    chosen = {_key(each) for each in mine}
    written = parent / OVERRIDES
    lines = written.read_text(encoding="utf-8").splitlines() if written.is_file() else []
    inherited = _vocabulary(parent, chosen)
    chosen |= {_key(each) for each in diagnose.parse(inherited, parser)}
    for each in diagnose.parse([line for line in lines if line.strip()], parser):
        if each.is_hydra_override() or _top(each) in _OWN or _key(each) in chosen:
            continue
        if _top(each) in chosen:  # the group's values go with the option they were written for
            continue
        if REDACTED in str(each.input_line):
            raise ConfigError(f"{_key(each)} is a secret of {place}: give it again, {_key(each)}=…")
        inherited.append(str(each.input_line))
    return [*inherited, *overrides]


def parent_of(branch: str) -> Path:
    """Return the run that ``branch=`` names. Raises ConfigError where it names none."""
    parent = run_of(branch)
    if parent is None:
        raise ConfigError(
            f"branch={branch} is neither a run's folder with checkpoints nor one of those."
        )
    return parent


def _vocabulary(parent: Path, chosen: set[str]) -> list[str]:
    if "tokenizer" in chosen or not (parent / "tokenizer").is_dir():
        return []
    if not str(load_config(parent).tokenizer.get("_target_")).endswith(_EMBEDDED):
        return []
    path = str(parent).replace("\\", "\\\\").replace("'", "\\'")
    return ["tokenizer=pretrained", f"tokenizer.path='{path}'"]


def _key(override: Override) -> str:
    return str(override.key_or_group)


def _top(override: Override) -> str:
    return _key(override).partition(".")[0].partition("@")[0]
