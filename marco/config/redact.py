"""The configuration as it may be written down: resolved, without secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig

from marco.config.compose import container

REDACTED = "<redacted>"
_WORDS = {"password", "passwd", "passphrase", "secret", "secrets", "credential", "credentials"}
_PAIRS = {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key"), ("auth", "key")}
# `token` is a secret, unless it is one of a vocabulary's.
_VOCABULARY = {"bos", "eos", "pad", "unk", "sep", "cls", "mask", "text", "start", "end", "per"}
_MIN_SECRET = 8


def is_secret_name(name: str) -> bool:
    """Return whether a key or an environment variable of this name holds a secret.

    ``api_key``, ``WANDB_API_KEY``, ``hub_token``, ``password`` do; ``tokens`` (the budget),
    ``tokenizer`` and ``eos_token`` do not.
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    words = [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]
    if _WORDS.intersection(words) or "apikey" in words:
        return True
    if _PAIRS.intersection(pairwise(words)):
        return True
    return bool(words) and words[-1] == "token" and not _VOCABULARY.intersection(words[:-1])


def resolved(cfg: DictConfig | Mapping[str, Any]) -> dict[str, Any]:
    """Return the resolved config as plain Python with every secret replaced by ``<redacted>``.

    A secret is text under a secret's name, and any text that contains the value of an environment
    variable of such a name (at least 8 characters), wherever it came from.
    """
    tree = container(cfg) if isinstance(cfg, DictConfig) else cfg
    redacted = _redact(tree, "", secret_values())
    assert isinstance(redacted, dict)
    return redacted


def redact_overrides(overrides: list[str]) -> list[str]:
    """Return the command line's overrides with the values of secrets replaced."""
    secrets = secret_values()
    safe: list[str] = []
    for text in overrides:
        key, equals, value = text.partition("=")
        secret = equals and is_secret_name(key.rpartition(".")[2])
        safe.append(f"{key}={REDACTED}" if secret and value not in ("", "null") else text)
    return [_without(text, secrets) for text in safe]


def redact_file(path: Path) -> None:
    """Take the secrets out of the ``multirun.yaml`` that Hydra wrote, if it is there."""
    if not path.is_file():
        return
    tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    safe = _redact(tree, "", secret_values())
    given = safe["hydra"]["overrides"]
    given["task"] = redact_overrides(given["task"])
    if safe != tree:
        write(to_yaml(safe), path)


def secret_values() -> list[str]:
    """Return the values of the environment's secrets, the longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if is_secret_name(name) and len(value) >= _MIN_SECRET
    }
    return sorted(found, key=len, reverse=True)


def to_yaml(tree: Mapping[str, Any]) -> str:
    """Return plain Python as YAML in the order of its keys."""
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True, width=100)


def write(text: str, path: Path) -> None:
    """Write a file so that a reader sees the old one or the whole new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _redact(value: Any, name: str, secrets: list[str]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _redact(item, str(key), secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_redact(item, name, secrets) for item in value]
    if not isinstance(value, str):
        return value
    return REDACTED if value and is_secret_name(name) else _without(value, secrets)


def _without(text: str, secrets: list[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text
