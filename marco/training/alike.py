"""Whether models can be merged: one architecture, and a vocabulary whose ids mean the same."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from marco.errors import ConfigError
from marco.tokenizers.tokenizer import TOKENIZER_FILE, Tokenizer
from marco.training.stored import StoredModel

log = logging.getLogger(__name__)

#: What of a config decides the function that weights compute.
FUNCTION = (
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_act",
    "rms_norm_eps",
    "rope_parameters",
    "tie_word_embeddings",
)


def check_alike(models: Sequence[StoredModel]) -> None:
    """Raise ConfigError unless all models compute the same function of the same ids.

    Vocabularies must give no id to two tokens; where they differ otherwise (a chat model has tokens
    more, say) that is logged.
    """
    first = models[0]
    for other in models[1:]:
        differing = {
            key: (ours, theirs)
            for key in FUNCTION
            if not _equal(ours := _value(first, key), theirs := _value(other, key))
        }
        if differing:
            listed = "; ".join(f"{key}: {a} and {b}" for key, (a, b) in differing.items())
            raise ConfigError(
                f"{first.path} and {other.path} are different models, which cannot be merged: "
                f"{listed}."
            )
        _check_vocabularies(first, other)


def _value(model: StoredModel, key: str) -> Any:
    return getattr(model.config, key, None)


def _equal(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-6)  # a GGUF file keeps fp32
    return bool(ours == theirs)


def _check_vocabularies(first: StoredModel, other: StoredModel) -> None:
    missing = [m.path for m in (first, other) if not (m.tokenizer / TOKENIZER_FILE).is_file()]
    if missing:
        log.warning("%s has no %s: its vocabulary is not checked.", missing[0], TOKENIZER_FILE)
        return
    if Tokenizer.from_folder(first.tokenizer).fingerprint == (
        Tokenizer.from_folder(other.tokenizer).fingerprint
    ):
        return
    ours, theirs = _by_id(first.tokenizer), _by_id(other.tokenizer)
    conflicts = (id_ for id_, token in ours.items() if theirs.get(id_, token) != token)
    shown = [f"{id_} is {ours[id_]!r} and {theirs[id_]!r}" for id_ in islice(conflicts, 3)]
    if shown:
        raise ConfigError(
            f"{first.path} and {other.path} have different vocabularies, so rows of their "
            f"embeddings mean different tokens: {'; '.join(shown)}."
        )
    log.warning(
        "The tokenizers of %s and %s differ, though no id has two tokens: %d and %d entries.",
        first.path,
        other.path,
        len(ours),
        len(theirs),
    )


def _by_id(folder: Path) -> dict[int, str]:
    tree = json.loads((folder / TOKENIZER_FILE).read_text(encoding="utf-8"))
    found = {id_: token for token, id_ in tree["model"]["vocab"].items()}
    return {**found, **{token["id"]: token["content"] for token in tree["added_tokens"]}}
