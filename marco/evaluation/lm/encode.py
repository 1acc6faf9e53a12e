"""Text → tokens, as lm-eval's own model for transformers encodes it, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

Pair = tuple[list[int], list[int]]


class Encoder:
    """The tokenizer with lm-eval's rules for contexts, continuations and first tokens.

    Args:
        tokenizer: of transformers.
        prefix_token: what a text without a context is conditioned on. A text that begins with it,
            spelled out, gets no special tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, prefix_token: int) -> None:
        self._tokenizer = tokenizer
        self._prefix_token = prefix_token
        self._prefix_text = tokenizer.decode(prefix_token)

    def texts(self, texts: Sequence[str], special: bool | None = None) -> list[list[int]]:
        """Encode each text; equal ones once.

        Args:
            texts: any number, also none.
            special: whether the tokenizer adds its special tokens; None: as it is set.
        """
        found: dict[str, list[int]] = {}
        alike: dict[bool | None, list[str]] = {}
        for text in dict.fromkeys(texts):
            spelled = special is None and text.startswith(self._prefix_text)
            alike.setdefault(False if spelled else special, []).append(text)
        for flag, some in alike.items():
            options: dict[str, Any] = {} if flag is None else {"add_special_tokens": flag}
            made = self._tokenizer(some, return_attention_mask=False, verbose=False, **options)
            found.update(zip(some, made["input_ids"], strict=True))
        return [found[text] for text in texts]

    def pairs(self, pairs: Sequence[tuple[str, str]]) -> list[Pair]:
        """Encode each (context, continuation).

        Spaces at the end of a context belong to the continuation. The two are encoded together and
        cut where the context's own tokens end.

        Raises:
            ValueError: there is nothing to score, or an empty context leaves nothing after it.
        """
        split = [_without_spaces(*pair) for pair in pairs]
        contexts = self.texts([context for context, _ in split if context])
        wholes = self.texts([context + rest for context, rest in split if context])
        alone = self.texts([rest for context, rest in split if not context], special=False)
        with_context, without = iter(zip(contexts, wholes, strict=True)), iter(alone)
        found = []
        for pair, (context, _) in zip(pairs, split, strict=True):
            if context:
                start, whole = next(with_context)
                made = start, whole[len(start) :]
            else:
                made = self._without_context(next(without))
            if not (made[0] and made[1]):
                raise ValueError(f"the request {pair!r} has no token to score, or none before it")
            found.append(made)
        return found

    def _without_context(self, tokens: list[int]) -> Pair:
        if tokens[:1] == [self._prefix_token]:
            return tokens[:1], tokens[1:]
        return [self._prefix_token], tokens


def _without_spaces(context: str, continuation: str) -> tuple[str, str]:
    kept = context.rstrip()
    return kept, context[len(kept) :] + continuation
