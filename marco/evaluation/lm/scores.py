"""Rows of questions → log-likelihoods, in one forward each, the head at scored places alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

from marco.errors import ConfigError
from marco.evaluation.lm.head import log_probabilities
from marco.evaluation.lm.prefixes import Beginning, Ints, Question, Row, plan
from marco.evaluation.scoring import ALONE, Progress, Shard, scoring_mode
from marco.models.attention import register
from marco.models.branches import Branches, Kept
from marco.models.settings import SUPPORTED_ARCHITECTURES

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: The log-likelihood in nats, and whether greedy decoding would have written the same.
Answer = tuple[float, bool]


def answers(
    network: PreTrainedModel,
    questions: Sequence[Question],
    max_tokens: int,
    *,
    vocabulary_limit: int | None = None,
    shard: Shard = ALONE,
    progress: Progress | None = None,
    found: Callable[[int, Answer], None] | None = None,
) -> list[Answer]:
    """Return the log-likelihood of what each question scores, given what stands before it.

    Args:
        network: a Qwen2 or Qwen3 of transformers, plain or fused.
        questions: each with a token before the scored ones at least.
        max_tokens: tokens in one forward, but for a longer question; halved when memory runs out.
        vocabulary_limit: the tokenizer's length: ids from there on get no probability.
        shard: this process's share of the rows; the result is complete on every process.
        progress: called with (questions answered, questions in all), both of this process.
        found: called with each question's index and answer as soon as it is known.

    Raises:
        ConfigError: another architecture, whose attention may do more than ours, or a model that
            is sharded over processes.
    """
    kind = network.config.model_type
    if kind not in SUPPORTED_ARCHITECTURES:
        known = ", ".join(SUPPORTED_ARCHITECTURES)
        raise ConfigError(f"A '{kind}' model cannot be scored here; supported: {known}.")
    if any(isinstance(parameter, DTensor) for parameter in network.parameters()):
        raise ConfigError("A model that is sharded over processes cannot answer: gather it.")
    made = torch.zeros(len(questions), 2, dtype=torch.float64)
    waiting = list(range(len(questions)))
    budget, done = max_tokens, 0
    with scoring_mode(network), _marcos_attention(network):
        while waiting:
            rows = plan(questions, waiting, budget)[shard.rank :: shard.size]
            total = done + sum(len(row.questions) for row in rows)
            answered: set[int] = set()
            try:
                for row, nats, greedy in _run(network, rows, vocabulary_limit):
                    for index, value, same in zip(row.questions, nats, greedy, strict=True):
                        made[index, 0], made[index, 1] = value, same
                        answered.add(index)
                        if found is not None:
                            found(index, (value, same))
                    done += len(row.questions)
                    if progress is not None:
                        progress(done, total)
                break
            except torch.OutOfMemoryError:
                if shard.size > 1 or budget <= 1:
                    raise
                torch.cuda.empty_cache()
                budget //= 2
                waiting = [index for index in waiting if index not in answered]
    if shard.size > 1:
        placed = made.to(network.device)
        torch.distributed.all_reduce(placed)
        made = placed.cpu() / (torch.distributed.get_world_size() // shard.size)
    return [(value, bool(same)) for value, same in made.tolist()]


@contextmanager
def _marcos_attention(network: PreTrainedModel) -> Iterator[None]:
    """A plain model attends by our function for as long as this lasts."""
    config = network.config
    before = config._attn_implementation
    config._attn_implementation = register()
    try:
        yield
    finally:
        config._attn_implementation = before


def _run(
    network: PreTrainedModel, rows: Sequence[Row], limit: int | None
) -> Iterator[tuple[Row, list[float], list[bool]]]:
    kept: dict[int, tuple[Beginning, Kept]] = {}
    for row in rows:
        chain = row.before.chain if row.before else []
        kept = {id(part): kept[id(part)] for part in chain if id(part) in kept}
        before = Kept()
        for part in chain:
            if id(part) not in kept:
                kept[id(part)] = part, _keep(network, part, before)
            before = kept[id(part)][1]
        hidden = _hidden(network, row.tokens, row.depths, row.ends, before, None)
        yield row, *_scored(network, hidden, row, limit)


def _keep(network: PreTrainedModel, part: Beginning, before: Kept) -> Kept:
    length = len(part.tokens)
    keep = Kept(part.length)
    depths = torch.arange(part.length - length, part.length).numpy()
    ends = torch.full((length,), length).numpy()
    _hidden(network, part.tokens, depths, ends, before, keep)
    return keep


def _hidden(
    network: PreTrainedModel,
    tokens: Ints,
    depths: Ints,
    ends: Ints,
    before: Kept,
    keep: Kept | None,
) -> Tensor:
    """[tokens, hidden] of the last layer."""
    device = network.device
    ids, places, last = (torch.from_numpy(x).to(device) for x in (tokens, depths, ends))
    masks: dict[str, Any] = {"full_attention": Branches(last, places, before, keep)}
    if "sliding_attention" in (getattr(network.config, "layer_types", None) or ()):
        window = network.config.sliding_window
        masks["sliding_attention"] = Branches(last, places, before, keep, window)
    hidden: Tensor = network.model(
        input_ids=ids[None], position_ids=places[None], attention_mask=masks, use_cache=False
    ).last_hidden_state
    return hidden[0]


def _scored(
    network: PreTrainedModel, hidden: Tensor, row: Row, limit: int | None
) -> tuple[list[float], list[bool]]:
    places, targets = (torch.from_numpy(x).to(hidden.device) for x in (row.places, row.targets))
    nats, same = log_probabilities(network.lm_head, hidden[places], targets, limit)
    counts = row.counts.tolist()
    values = nats.double().cpu().split(counts)  # type: ignore[no-untyped-call]
    greedy = same.cpu().split(counts)  # type: ignore[no-untyped-call]
    return [float(x.sum()) for x in values], [bool(x.all()) for x in greedy]
