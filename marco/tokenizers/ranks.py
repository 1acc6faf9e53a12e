"""Whether a tokenizer is one list of ranks, and the list: what `tiktoken`'s engine merges by.

The `tokenizers` library joins two neighbours where the *pair* is in its list of merges, the
earliest first; an engine of ranks joins them where their *concatenation* is in the vocabulary, the
lowest rank first. Both give the same ids for every text where

1. every byte is in the vocabulary, and every other entry is what exactly one merge makes; and
2. the ranks are the merges' order, and every entry's bytes, merged by the earlier ranks alone,
   leave the two parts of its merge (`marco.tokenizers.bpe.merged_from`).

For: look at two neighbours whose concatenation is an entry, when no lower rank is left to merge.
Nothing was merged across the edges of their span, so within it happened what happens to the
entry's bytes alone, and by 2. that left the merge's pair: the neighbours are that pair.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marco.tokenizers.bpe import SPLIT_PATTERN, byte_characters, merged_from

BYTES = 256
_PRE_TOKENIZER = [
    {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Isolated", "invert": False},
    {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
]


@dataclass(frozen=True)
class Ranks:
    """A byte-level BPE with Qwen2's split and NFC.

    Attributes:
        ranks: token → 0 to 255 for the single bytes, then the merges in order.
        ids: [len(ranks)] int32, rank → id.
        literals: added tokens that are found in text even where special ones are plain text.
    """

    ranks: dict[bytes, int]
    ids: NDArray[np.int32]
    literals: tuple[str, ...]


def ranks_of(serialised: str) -> Ranks | None:
    """Return the ranks of a tokenizer.json's content, without condition 2 (`is_exact`).

    None: it is another kind of tokenizer, or has entries that no merge makes.
    """
    content: dict[str, Any] = json.loads(serialised)
    model, split = content["model"], content["pre_tokenizer"]
    if not (
        model["type"] == "BPE"
        and not any(model.get(key) for key in _UNKNOWN_TO_RANKS)
        and content["normalizer"] == {"type": "NFC"}
        and split is not None
        and split["type"] == "Sequence"
        and [_without_offsets(step) for step in split["pretokenizers"]] == _PRE_TOKENIZER
    ):
        return None
    bytes_of = {character: byte for byte, character in byte_characters().items()}
    ranks = {bytes([byte]): byte for byte in range(BYTES)}
    ids: list[int | None] = [model["vocab"].get(byte_characters()[byte]) for byte in range(BYTES)]
    for left, right in model["merges"]:
        token = bytes(bytes_of[character] for character in left + right)
        if token in ranks:
            return None
        ranks[token] = len(ids)
        ids.append(model["vocab"].get(left + right))
    added = content["added_tokens"]
    if None in ids or set(model["vocab"].values()) - {t["id"] for t in added} - set(ids):
        return None
    literals = tuple(token["content"] for token in added if not token["special"])
    return Ranks(ranks, np.array(ids, np.int32), literals)


def is_exact(serialised: str, ranks: Ranks) -> bool:
    """Whether condition 2 holds (2 s for Qwen2's 151,387 merges)."""
    bytes_of = {character: byte for byte, character in byte_characters().items()}
    for left, right in json.loads(serialised)["model"]["merges"]:
        parts = tuple(bytes(bytes_of[character] for character in part) for part in (left, right))
        try:
            if merged_from(parts[0] + parts[1], ranks.ranks) != parts:
                return False
        except ValueError:
            return False
    return True


# The model's options that change what it does, in any other value than null, false or "".
_UNKNOWN_TO_RANKS = (
    "dropout",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "byte_fallback",
)


def _without_offsets(step: dict[str, Any]) -> dict[str, Any]:
    """`trim_offsets` says where tokens lie in the text, not which they are."""
    return {key: value for key, value in step.items() if key != "trim_offsets"}
