"""Rendered conversations as tokens, each of them a target or context."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from marco.data.chat.messages import Message
from marco.data.chat.rendering import Rendered, Renderer, Span
from marco.errors import ConfigError
from marco.tokenizers.chat_template import CHATML, IM_END, IM_START

if TYPE_CHECKING:
    from marco.tokenizers import Tokenizer


@dataclass(frozen=True)
class Encoded:
    """A conversation in tokens.

    Attributes:
        tokens: [n] int32.
        targets: [n] bool.
    """

    tokens: NDArray[np.int32]
    targets: NDArray[np.bool_]


def renderer(tokenizer: Tokenizer, template: str | None, where: str) -> Renderer:
    """Return what renders for a tokenizer.

    Args:
        tokenizer: its own template is used, or Qwen2's where it has none.
        template: another one in its place.
        where: a key, for messages.

    Raises:
        ConfigError: it has no template, and lacks the tokens that Qwen2's needs.
    """
    own = template or tokenizer.chat_template
    if own is None:
        missing = [token for token in (IM_START, IM_END) if token not in tokenizer.special_tokens]
        if missing:
            raise ConfigError(
                f"{where}: the tokenizer {tokenizer.name} has no chat template, and not the tokens "
                f"{' and '.join(missing)} that Qwen2's needs: tokenizer=chat adds both."
            )
        own = CHATML
    return Renderer(own, tokenizer.special_tokens, tokenizer.template_variables, where)


def encode(
    conversations: Sequence[Sequence[Message]], by: Renderer, tokenizer: Tokenizer
) -> Iterator[Encoded]:
    """Yield the tokens of each conversation: those that transformers makes of the rendered text.

    Raises:
        ConfigError: see `Renderer.render`.
    """
    rendered = [by.render(messages) for messages in conversations]
    cut = [_pieces(one, by) for one in rendered]
    plain = [text for pieces in cut for text, _, special in pieces if not special]
    encodings = iter(tokenizer.encode_aligned(plain))
    for one, pieces in zip(rendered, cut, strict=True):
        tokens: list[NDArray[np.int32]] = []
        places: list[NDArray[np.int64]] = []
        for text, start, special in pieces:
            if special:
                tokens.append(np.array([tokenizer.special_tokens[text]], np.int32))
                places.append(np.array([[start, start + len(text)]], np.int64))
            else:
                ids, offsets = next(encodings)
                tokens.append(ids)
                places.append(offsets + start)
        joined = np.concatenate(places)
        yield Encoded(np.concatenate(tokens), _within(joined, one.spans))


def _pieces(one: Rendered, by: Renderer) -> list[tuple[str, int, bool]]:
    """Cut a text at its special tokens: (text, where it starts, whether it is one)."""
    found: list[tuple[str, int, bool]] = []
    at = 0
    restore = str.maketrans(dict(one.stand_ins))
    for match in by.pattern.finditer(one.text):
        if match.start() > at:
            found.append((one.text[at : match.start()].translate(restore), at, False))
        found.append((match[0], match.start(), True))
        at = match.end()
    if at < len(one.text):
        found.append((one.text[at:].translate(restore), at, False))
    return found


def _within(places: NDArray[np.int64], spans: Sequence[Span]) -> NDArray[np.bool_]:
    """Which places, [n, 2], have a character in common with one of the spans."""
    inside = np.zeros(len(places), np.bool_)
    for start, stop in spans:
        inside |= (places[:, 0] < stop) & (places[:, 1] > start)
    return inside
