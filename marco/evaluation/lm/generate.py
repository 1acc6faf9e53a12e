"""Continuing prompts: greedily or by sampling, many at a time, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from marco.errors import ConfigError, DataError
from marco.evaluation.lm.generate_any import AnyDecoder
from marco.evaluation.lm.generate_choice import choose, generators, penalise
from marco.evaluation.lm.generate_qwen import QwenDecoder, is_qwen
from marco.evaluation.lm.generate_settings import GenerationSettings
from marco.evaluation.lm.stops import StopWatch
from marco.evaluation.scoring import ALONE, Progress, Shard, scoring_mode

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Decoder(Protocol):
    """A model at work on some prompts, its rows."""

    def admits(self, waiting: Sequence[int]) -> int:
        """How many of the waiting prompts, given by their lengths, longest first, join now."""

    def add(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Compute prompts as rows behind the others; return their logits, fp32 [prompts, ids]."""

    def step(self, tokens: Tensor) -> Tensor:
        """Take the next token of every row, int64 [rows]; return the logits, fp32 [rows, ids]."""

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Let all rows but these go; return which of the old rows is where now."""


class _Row:
    """A prompt that is being continued."""

    def __init__(
        self,
        index: int,
        prompt: Sequence[int],
        settings: GenerationSettings,
        tokenizer: PreTrainedTokenizerBase | None,
        source: np.random.Generator,
    ) -> None:
        self.index = index
        self.made: list[int] = []
        self._source = source
        self._settings = settings
        self._watch = StopWatch(tokenizer, settings.stop) if tokenizer and settings.stop else None
        self.seen = set(prompt) if settings.repetition_penalty != 1 else set()

    def draw(self) -> float:
        return self._source.random()

    def take(self, token: int) -> bool:
        """Add a token; return whether it is the last."""
        settings = self._settings
        self.made.append(token)
        if settings.repetition_penalty != 1:
            self.seen.add(token)
        return (
            token in settings.end
            or len(self.made) >= settings.max_new_tokens
            or (self._watch is not None and self._watch.add(token))
        )


def generate(
    network: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    vocabulary_limit: int | None = None,
    shard: Shard = ALONE,
    progress: Progress | None = None,
    found: Callable[[int, list[int]], None] | None = None,
) -> list[list[int]]:
    """Continue every prompt; what it gets does not depend on the others (but for rounding).

    Prompts are taken longest first, as many at once as fit in ``settings.max_tokens`` places; a
    row that is done gives its place to the next. The model is left as it was: modes, weights and
    configuration are put back or never touched, so this also runs on a model that is training.

    Args:
        network: any causal language model of transformers. Layers of Qwen2 and Qwen3, plain or
            fused, are run here; of others the model's own forward is called, a few times slower.
        prompts: token ids, at least one each. Not shortened: see `left_truncated`.
        settings: how.
        tokenizer: for ``settings.stop``, without which it is not used.
        vocabulary_limit: the tokenizer's length; rows of the head from there on are never chosen.
        shard: this process's share of the prompts; the result is complete on every process.
        progress: called with (prompts done, prompts in all), of this process, after every token.
        found: called with a prompt's index and its new tokens as soon as it is done here.

    Returns:
        The new tokens of each prompt, the one that ended it included; `text_of` makes text of them.

    Raises:
        DataError: an empty prompt.
        ConfigError: stop strings without a tokenizer, or a model sharded over processes.
        CheckpointError: the model gives no numbers.
    """
    _check(network, prompts, settings, tokenizer)
    sources = generators(prompts, settings.seed)
    # Dealt out by length, so that every rank has about the same to do.
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    waiting = order[shard.rank :: shard.size]
    results: list[list[int]] = [[] for _ in prompts]
    total = len(waiting)
    make: Callable[..., Decoder] = QwenDecoder if is_qwen(network) else AnyDecoder
    with scoring_mode(network):
        decoder = make(network, settings.max_new_tokens, settings.max_tokens, vocabulary_limit)
        rows: list[_Row] = []
        done = 0
        while waiting or rows:
            count = decoder.admits([len(prompts[index]) for index in waiting])
            if count:
                chosen, waiting = waiting[:count], waiting[count:]
                logits = decoder.add([prompts[index] for index in chosen])
                fresh = [
                    _Row(index, prompts[index], settings, tokenizer, sources[index])
                    for index in chosen
                ]
                rows += fresh
            else:
                last = torch.tensor([row.made[-1] for row in rows], device=network.device)
                fresh, logits = rows, decoder.step(last)
            ended = _take(logits, fresh, settings)
            if ended:
                for row in ended:
                    results[row.index] = row.made
                    if found is not None:
                        found(row.index, row.made)
                stay = [place for place, row in enumerate(rows) if row not in ended]
                rows = [rows[place] for place in decoder.keep(stay)]
                done += len(ended)
            if progress is not None:
                progress(done, total)
    return _gathered(results) if shard.size > 1 else results


def _gathered(results: list[list[int]]) -> list[list[int]]:
    """Put together what the ranks made; each has nothing for the others' prompts."""
    ranks: list[list[list[int]]] = [[] for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(ranks, results)
    return [max(made, key=len) for made in zip(*ranks, strict=True)]


def _take(logits: Tensor, rows: Sequence[_Row], settings: GenerationSettings) -> list[_Row]:
    """Give every row its next token; return those that are done."""
    if settings.repetition_penalty != 1:
        seen = [torch.tensor(sorted(row.seen), device=logits.device) for row in rows]
        penalise(logits, seen, settings.repetition_penalty)
    draws = [row.draw() for row in rows] if settings.samples else []
    tokens = choose(logits, settings, draws).tolist()
    return [row for row, token in zip(rows, tokens, strict=True) if row.take(token)]


def _check(
    network: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    tokenizer: PreTrainedTokenizerBase | None,
) -> None:
    empty = [index for index, prompt in enumerate(prompts) if not len(prompt)]
    if empty:
        raise DataError(
            f"Prompt {empty[0]} has no tokens: a model needs one to go on from, such as the "
            "end-of-text token."
        )
    if settings.stop and tokenizer is None:
        raise ConfigError("Stop strings are found in text: give the tokenizer.")
    if any(isinstance(parameter, DTensor) for parameter in network.parameters()):
        raise ConfigError("A model that is sharded over processes cannot generate: gather it.")
