"""A small config tree with settings classes of its own, so these tests need nobody else's files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from marco.config import Sources

SETTINGS = """
from __future__ import annotations
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol
from marco.errors import ConfigError

@dataclass(frozen=True)
class Nothing:
    pass

@dataclass(frozen=True)
class Model:
    hidden_size: int
    layers: int = 2
    dtype: Literal["fp32", "bf16"] = "fp32"
    def __post_init__(self) -> None:
        if self.hidden_size % 8:
            raise ConfigError(f"model.hidden_size={self.hidden_size} should be a multiple of 8.")

@dataclass(frozen=True)
class Optimizer:
    lr: float
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float | None = None

class Rule(Protocol):
    def shares(self) -> dict[str, float]: ...

@dataclass(frozen=True)
class Uniform:
    pass

@dataclass(frozen=True)
class Group:
    share: float
    within: Rule = field(default_factory=Uniform)

@dataclass(frozen=True)
class Groups:
    groups: dict[str, Group]

@dataclass(frozen=True)
class Weights:
    weights: dict[str, float]

@dataclass(frozen=True)
class Schedule:
    tokens: int
    final: float = 0.0

@dataclass(frozen=True)
class Data:
    languages: list[str]
    path: str

@dataclass(frozen=True)
class Trainer:
    devices: int | Literal["auto"]
    processes: int | str = 1

@dataclass(frozen=True)
class Logger:
    project: str
    mode: str = "offline"
    api_key: str | None = None

@dataclass(frozen=True)
class Loose:
    anything: Any = None

class Base:
    pass

class Progress(Base):
    def __init__(self, every: int = 1, label: str | None = None) -> None:
        self.every, self.label = every, label

class Refuses(Base):
    def __init__(self, every: int) -> None:
        raise ValueError("every is out of range")

class Sloppy:
    def __init__(self, every: int = 1, **kwargs: Any) -> None:
        pass

class Unresolved:
    def __init__(self, every: NotImported, label: str | None) -> None:
        pass

def function() -> None:
    pass
"""

TREE = {
    "train": """
defaults:
  - _self_
  - model: tiny
  - tokenizer: nothing
  - data: small
  - mix: uniform
  - objective: nothing
  - optimizer: adamw
  - schedule: cosine
  - kernels: nothing
  - trainer: default
  - callbacks: default
  - logger: offline
  - evaluation: nothing
  - paths: default
  - experiment: null
name: trial
seed: 1
tokens: 4096
batch: {sequence_length: 32, sequences: 4, micro_sequences: 2}
resume: null
branch: null
tags: [a, b]
""",
    "model/tiny": "_target_: toy_settings.Model\nhidden_size: 64\nlayers: 2\ndtype: fp32\n",
    "model/big": "_target_: toy_settings.Model\nhidden_size: 512\nlayers: 8\ndtype: bf16\n",
    "data/small": "_target_: toy_settings.Data\nlanguages: [eng, swh]\npath: here\n",
    "data/files": "_target_: toy_settings.Data\nlanguages: [eng]\npath: ???\n",
    "mix/uniform": "_target_: toy_settings.Uniform\n",
    "mix/weights": "_target_: toy_settings.Weights\nweights: {eng: 1.0, swh: 2}\n",
    "mix/groups": """
_target_: toy_settings.Groups
groups:
  high: {share: 0.4}
  low: {share: 0.6, within: {_target_: toy_settings.Uniform}}
""",
    "optimizer/adamw": """
_target_: toy_settings.Optimizer
lr: 1e-3
betas: [0.9, 0.95]
clip: 1.0
""",
    "schedule/cosine": "_target_: toy_settings.Schedule\ntokens: ${tokens}\nfinal: 0.1\n",
    "trainer/default": """
_target_: toy_settings.Trainer
devices: 1
processes: ${.devices}
""",
    "logger/offline": """
_target_: toy_settings.Logger
project: ${name}
mode: offline
api_key: null
""",
    "logger/online": """
_target_: toy_settings.Logger
project: ${name}
mode: online
api_key: ${oc.env:TOY_API_KEY,null}
""",
    "callbacks/default": """
progress: {_target_: toy_settings.Progress, every: 10, label: null}
throughput: {_target_: toy_settings.Progress, every: 5}
""",
    "experiment/swahili": """
# @package _global_
defaults:
  - override /mix: weights
name: swahili
tokens: 8192
""",
    "paths/default": """
_target_: marco.config.paths.Paths
runs: runs
models: models
""",
} | {
    f"{group}/nothing": "_target_: toy_settings.Nothing\n"
    for group in ("tokenizer", "objective", "kernels", "evaluation")
}


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sources]:
    """The small tree; its settings are importable as ``toy_settings``, the work is in tmp_path."""
    for name, text in TREE.items():
        path = tmp_path / "tree" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    modules = tmp_path / "modules"
    modules.mkdir()
    (modules / "toy_settings.py").write_text(SETTINGS, encoding="utf-8")
    monkeypatch.syspath_prepend(str(modules))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.delenv("TOY_API_KEY", raising=False)
    yield Sources(tree=str(tmp_path / "tree"))
    sys.modules.pop("toy_settings", None)
