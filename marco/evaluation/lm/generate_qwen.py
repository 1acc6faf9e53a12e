"""Continuing many prompts with a Qwen2 or Qwen3: its layers, over keys and values kept in place.

Prompts are computed one behind the other, without padding. A step takes one token of every row;
keys and values stay where they were written, and the heads that share them are the queries of one
product: nothing is repeated, joined or copied. Rows that are done leave, others take their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from marco.evaluation.lm.generate_layer import Layer, operations_on
from marco.evaluation.lm.generate_products import head
from marco.kernels.torch_path.types import compute_type
from marco.models.fused import layers_of
from marco.models.fused_layers import ATTENTIONS, LAYERS, MLPS, SILU

#: Rows at work at once, by kind of device: on a CPU products gain nothing from more.
ROWS = {"cpu": 64, "cuda": 256}
#: Tokens of prompts in one forward.
PREFILL = {"cpu": 2048, "cuda": 16_384}
#: Rows of similar length whose attention is one call: the longest decides what is read.
TOGETHER = 16
#: Rotary angles that do not follow from the length of what else is computed.
_FIXED_ANGLES = ("default", "linear", "llama3", "yarn")

#: queries, keys, values of a layer [tokens, heads, width] → what they attend to, [tokens, …].
Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]


def is_qwen(network: PreTrainedModel) -> bool:
    """Whether the model is one whose layers are computed here as transformers would."""
    layers, base = layers_of(network), network.base_model
    if not layers or getattr(base, "rotary_emb", None) is None or base is network:
        return False
    if base.rotary_emb.rope_type not in _FIXED_ANGLES:
        return False
    return all(
        type(layer) in _known(LAYERS)
        and type(layer.self_attn) in _known(ATTENTIONS)
        and layer.self_attn.sliding_window is None
        and type(layer.mlp) in _known(MLPS)
        and type(layer.mlp.act_fn) in SILU
        and not any(_is_watched(module) for module in (layer, layer.self_attn, layer.mlp))
        for layer in layers
    )


def _known(classes: dict[type, type]) -> set[type]:
    return {*classes, *classes.values()}


def _is_watched(module: Any) -> bool:
    """Whether something hangs on a module's forward, which is not called here."""
    return "forward" in module.__dict__ or bool(module._forward_hooks or module._forward_pre_hooks)


class QwenDecoder:
    """The rows at work; see `marco.evaluation.lm.generate.Decoder`."""

    def __init__(
        self, network: PreTrainedModel, new_tokens: int, max_tokens: int, limit: int | None
    ) -> None:
        device = network.device.type
        self._base: Any = network.base_model
        self._new_tokens, self._max_tokens = new_tokens, max_tokens
        self._max_rows = ROWS.get(device, 1)
        self._prefill = PREFILL.get(device, 2048)
        ops = operations_on(device)
        self._layers = [Layer(layer, ops, self._max_rows) for layer in layers_of(network)]
        self._head = head(network.get_output_embeddings(), limit, self._max_rows)
        self._lengths: list[int] = []
        self._slots = self._capacity = 0
        self._keys: list[Tensor] = []  # [slots, kv heads, capacity, width] a layer
        self._values: list[Tensor] = []

    def admits(self, waiting: Sequence[int]) -> int:
        """How many of the waiting, longest first, join now: some at once, not one at a time."""
        if waiting and not self._lengths:
            self._allocate(waiting[0] + self._new_tokens, len(waiting))
        free = min(self._slots - len(self._lengths), len(waiting))
        return free if free >= min(len(waiting), max(1, self._slots // 8)) else 0

    def add(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        """Compute new rows behind the others; return their logits, fp32 [prompts, entries]."""
        made, start = [], 0
        while start < len(prompts):
            end, tokens = start + 1, len(prompts[start])
            while end < len(prompts) and tokens + len(prompts[end]) <= self._prefill:
                tokens += len(prompts[end])
                end += 1
            made.append(self._add(prompts[start:end]))
            start = end
        return self._head(torch.cat(made))

    def _add(self, prompts: Sequence[Sequence[int]]) -> Tensor:
        lengths = [len(prompt) for prompt in prompts]
        first = len(self._lengths)
        self._lengths += lengths
        device = self._base.device
        ids = torch.tensor([token for prompt in prompts for token in prompt], device=device)
        places = torch.cat([torch.arange(length, device=device) for length in lengths])
        last = torch.tensor(lengths, device=device).cumsum(0) - 1

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            only_last = len(q) != len(k)
            made, parts = torch.empty_like(q), [x.split(lengths) for x in (k, v)]  # type: ignore[no-untyped-call]
            queries = q.split([1] * len(lengths) if only_last else lengths)  # type: ignore[no-untyped-call]
            outs = made.split([1] * len(lengths) if only_last else lengths)  # type: ignore[no-untyped-call]
            for slot, (query, key, value, out) in enumerate(
                zip(queries, *parts, outs, strict=True), first
            ):
                length = len(key)
                key, value = key.transpose(0, 1), value.transpose(0, 1)
                self._keys[layer][slot, :, :length] = key
                self._values[layer][slot, :, :length] = value
                mixed = functional.scaled_dot_product_attention(
                    query.transpose(0, 1)[None],
                    key[None],
                    value[None],
                    is_causal=not only_last,
                    scale=self._layers[layer].scaling,
                    enable_gqa=True,
                )
                out.copy_(mixed[0].transpose(0, 1))
            return made

        return self._forward(ids, places, attend, last)

    def step(self, tokens: Tensor) -> Tensor:
        """Take one token of every row, int64 [rows]; return the logits, fp32 [rows, entries]."""
        lengths = self._lengths
        rows = range(len(lengths))
        places = torch.tensor(lengths, device=tokens.device)
        every = torch.arange(len(lengths), device=tokens.device)
        groups = []
        for start in range(0, len(lengths), TOGETHER):
            group = slice(start, min(start + TOGETHER, len(lengths)))
            longest = max(lengths[row] for row in rows[group]) + 1
            hidden_from = torch.arange(longest, device=tokens.device) > places[group, None]
            bias = self._keys[0].new_zeros(hidden_from.shape).masked_fill_(hidden_from, -torch.inf)
            groups.append((group, longest, bias[:, None, None]))

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self._keys[layer], self._values[layer]
            keys[every, :, places] = k
            values[every, :, places] = v
            q = q.view(len(q), k.shape[1], -1, q.shape[2])  # the heads of a key are its queries
            mixed = [
                functional.scaled_dot_product_attention(
                    q[group],
                    keys[group, :, :longest],
                    values[group, :, :longest],
                    attn_mask=bias,
                    scale=self._layers[layer].scaling,
                )
                for group, longest, bias in groups
            ]
            return torch.cat(mixed).flatten(1, 2)

        hidden = self._forward(tokens, places, attend, None)
        self._lengths = [length + 1 for length in lengths]
        return self._head(hidden)

    def keep(self, rows: Sequence[int]) -> list[int]:
        """Let all rows but these go; return which of the old rows is where now."""
        kept = set(rows)
        order = list(range(len(kept)))
        late = [row for row in sorted(kept) if row >= len(kept)]
        for to in order:
            if to not in kept:
                order[to] = row = late.pop()
                length = self._lengths[row]
                for cache in (*self._keys, *self._values):
                    cache[to, :, :length] = cache[row, :, :length]
        self._lengths = [self._lengths[row] for row in order]
        return order

    def _allocate(self, capacity: int, waiting: int) -> None:
        slots = max(1, min(self._max_rows, self._max_tokens // capacity, waiting))
        if slots * capacity <= self._slots * self._capacity and slots <= self._slots:
            return
        self._slots, self._capacity = slots, capacity
        layer, weight = self._layers[0], self._base.embed_tokens.weight
        shape = (slots, layer.kv_heads, capacity, layer.width)
        kind = compute_type(weight)
        # Zeros: what lies beyond a row's end is read, and hidden, but 0 · NaN would be NaN.
        made = [weight.new_zeros(shape, dtype=kind) for _ in range(2 * len(self._layers))]
        self._keys, self._values = made[::2], made[1::2]

    def _forward(self, ids: Tensor, places: Tensor, attend: Attend, last: Tensor | None) -> Tensor:
        """The last norm's output, [tokens, hidden]; of the tokens `last` alone where given."""
        hidden = self._base.embed_tokens(ids)
        cos, sin = self._base.rotary_emb(hidden[None], places[None])
        for number, layer in enumerate(self._layers):
            q, k, v = layer.heads(hidden, cos, sin)
            if last is not None and number == len(self._layers) - 1:
                q, hidden = q[last], hidden[last]
            hidden = layer.rest(attend(number, q, k, v), hidden)
        normed: Tensor = self._base.norm(hidden)
        return normed
