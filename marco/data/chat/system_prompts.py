"""Which system prompt a conversation without one gets: drawn by weight, the same at every start."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marco.data.chat.messages import Message
from marco.data.pair_hash import ID_BYTES, uniform
from marco.errors import ConfigError


@dataclass(frozen=True)
class SystemPrompt:
    """One entry of `system_prompts`.

    Attributes:
        text: the prompt; null: none of ours, so that the template does what it does without one
            (Qwen2's puts "You are a helpful assistant." there).
        weight: how often it is drawn, beside the others' weights.
    """

    text: str | None
    weight: float = 1.0


def check_prompts(prompts: Mapping[str, SystemPrompt] | None, key: str) -> None:
    """Raise ConfigError for weights that nothing can be drawn by."""
    for name, prompt in (prompts or {}).items():
        if not (math.isfinite(prompt.weight) and prompt.weight >= 0):
            raise ConfigError(f"{key}.{name}.weight={prompt.weight}: a finite number, 0 or more.")
        if prompt.text is not None and not prompt.text.strip():
            raise ConfigError(f"{key}.{name}.text is empty: null adds no prompt.")
    if prompts is not None and not any(prompt.weight for prompt in prompts.values()):
        raise ConfigError(f"{key}: no prompt has a weight above 0 (null adds none).")


def with_prompt(
    messages: tuple[Message, ...], prompts: Sequence[SystemPrompt], seed: int
) -> tuple[Message, ...]:
    """Return a conversation with the system prompt that its text and the seed draw.

    One that has a system prompt keeps it; without `prompts` nothing changes.
    """
    if not prompts or messages[0].role == "system":
        return messages
    point = uniform(seed, conversation_id(messages), "system prompt")
    point *= sum(prompt.weight for prompt in prompts)
    chosen = next(prompt for prompt in reversed(prompts) if prompt.weight)
    for prompt in prompts:
        point -= prompt.weight
        if point < 0:
            chosen = prompt
            break
    return messages if chosen.text is None else (Message("system", chosen.text), *messages)


def conversation_id(messages: Sequence[Message]) -> bytes:
    """Return the name of what was said, `ID_BYTES` long."""
    digest = hashlib.blake2b(digest_size=ID_BYTES)
    for message in messages:
        content = message.content.encode()
        digest.update(f"{message.role}:{len(content)}:".encode() + content)
    return digest.digest()
