"""The root of a run's configuration: its own values, and one bound object for each group."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, TypeVar, get_type_hints

from omegaconf import DictConfig

from marco.config.bind import bind, bind_named, bind_node, plain_mapping
from marco.config.keys import dotted_keys, nearest_key
from marco.config.paths import Paths
from marco.config.values import convert
from marco.errors import ConfigError

_NAME = re.compile(r"\w[\w.+-]{0,127}")
_MAX_SEED = 2**32 - 1
Root = TypeVar("Root")


@dataclass(frozen=True)
class Batch:
    """One global batch, and how it is cut."""

    sequence_length: int
    """Tokens a sequence."""
    sequences: int
    """Sequences a global batch, over all processes and micro-batches."""
    micro_sequences: int | None = None
    """Sequences that one process takes through the model at once; null: its whole share."""
    packing: Literal["concat", "best_fit"] = "concat"
    """How documents become sequences: without padding, or whole where they fit."""

    def __post_init__(self) -> None:
        for key, least in (("sequence_length", 2), ("sequences", 1), ("micro_sequences", 1)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise ConfigError(f"batch.{key}={value} should be at least {least}.")
        self.micro(1)

    def micro(self, devices: int) -> int:
        """Sequences of one forward, with `devices` data-parallel processes.

        Raises ConfigError where the global batch cannot be cut evenly.
        """
        micro = self.micro_sequences or self.sequences // devices
        if micro == 0 or self.sequences % (micro * devices):
            own = "" if self.micro_sequences is None else f"batch.micro_sequences={micro} × "
            raise ConfigError(
                f"batch.sequences={self.sequences} should be a multiple of "
                f"{own}trainer.devices={devices}."
            )
        return micro

    @property
    def tokens(self) -> int:
        """Tokens a global batch."""
        return self.sequence_length * self.sequences


@dataclass(frozen=True)
class RunSettings:
    """Everything a run is made of, checked. Groups hold their settings objects."""

    OPTIONAL: ClassVar = frozenset({"adapter", "logger", "evaluation"})
    """Groups that may be null, or not there: switched off."""

    name: str
    """The experiment; also the folder under ``paths.runs``."""
    seed: int
    tokens: int
    """The budget: training stops after the last whole global batch within it."""
    batch: Batch
    resume: str | None
    branch: str | None
    """A run, or one of its checkpoints, whose weights and optimizer state this one begins with."""
    tags: list[str]
    paths: Paths
    model: Any
    tokenizer: Any
    data: Any
    mix: Any
    objective: Any
    optimizer: Any
    schedule: Any
    kernels: Any
    trainer: Any
    logger: Any
    evaluation: Any
    adapter: Any
    """What is trained in place of the weights; null: the weights."""
    callbacks: dict[str, Any]
    """Name → Deferred, in the order of the config; those switched off are absent."""

    def steps(self, end: int) -> int:
        """Optimizer steps: the whole global batches in the budget, or in a mix's `end` tokens.

        Raises ConfigError where the mix ends before the first.
        """
        steps = min(self.tokens, end) // self.batch.tokens
        if steps == 0:
            raise ConfigError(
                f"The mix ends the run after {end:,} tokens, less than one global batch of "
                f"{self.batch.tokens:,}: raise mix.max_epochs, or lower batch.sequences."
            )
        return steps

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == "last":
            raise ConfigError(
                f"name={self.name!r} names a folder: letters, digits and . _ + - only, at most "
                "128, a letter or digit first, and not 'last'."
            )
        if not 0 <= self.seed <= _MAX_SEED:
            raise ConfigError(f"seed={self.seed} should be between 0 and {_MAX_SEED}.")
        if self.tokens < self.batch.tokens:
            raise ConfigError(
                f"tokens={self.tokens} is less than one global batch: {self.batch.sequences} "
                f"sequences of {self.batch.sequence_length} are {self.batch.tokens} tokens."
            )
        if self.resume is not None and not self.resume.strip():
            raise ConfigError("resume should be a run folder or 'last'.")
        if any(not tag.strip() for tag in self.tags) or len(set(self.tags)) < len(self.tags):
            raise ConfigError(f"tags={self.tags} should be different, and none empty.")


def bind_all(cfg: DictConfig | Mapping[str, Any]) -> RunSettings:
    """Bind the config of a run. Raises ConfigError, as ``bind`` does, for anything wrong."""
    return bind_root(cfg, RunSettings)


def bind_root(cfg: DictConfig | Mapping[str, Any], root: type[Root]) -> Root:
    """Bind a whole config to its root's dataclass.

    Fields of type ``Any`` are groups; those named in the root's ``OPTIONAL`` may be null. The
    root's own values come first and the callbacks last: importing those imports torch, and a
    misspelt learning rate should not have to wait for that.

    Raises:
        ConfigError: as ``bind`` does, for anything that is wrong.
    """
    tree = plain_mapping(cfg)
    hints = get_type_hints(root)
    names = [field.name for field in fields(root)]  # type: ignore[arg-type]
    for key in tree:
        if key not in names:
            known = list(dotted_keys({name: tree.get(name) for name in names}))
            raise ConfigError(f"unknown key '{key}'.{nearest_key(key, known)}")
    optional: frozenset[str] = getattr(root, "OPTIONAL", frozenset())
    missing = [name for name in names if name not in tree and name not in optional]
    if missing:
        raise ConfigError(f"{', '.join(missing)} must be given.")
    bound: dict[str, Any] = {}
    for name in names:
        if name == "callbacks":
            bound[name] = bind_named(_mapping(tree[name], name), name)
        elif hints[name] is Any or hints[name] is Paths:
            bound[name] = _group(tree.get(name), name, optional)
        else:
            bound[name] = convert(tree[name], hints[name], name, bind_node)
    return root(**bound)


def _group(node: Any, name: str, optional: frozenset[str]) -> Any:
    if node is None and name in optional:
        return None
    if node is None:
        raise ConfigError(f"{name} is null: choose one of its options, {name}=…")
    tree = _mapping(node, name)
    if name == "logger" and "_target_" not in tree:
        return bind_named(tree, name)
    return bind(tree, name)


def _mapping(node: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        raise ConfigError(f"{name} should be a group of keys, got {node!r}.")
    return node
