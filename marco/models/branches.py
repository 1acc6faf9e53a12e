"""Attention over a forest of texts that share their beginnings: each shared token is there once.

The tokens of a row stand in depth-first order, so a token's ancestors are the earlier tokens whose
subtree has not ended where it stands: that is the whole mask. What all of a row's texts begin with
may be left out and given as keys and values that an earlier forward kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import scaled_dot_product_attention

from marco.kernels.torch_path.attention import BLOCK, Block, Packing, packed_attention
from marco.models.gpu_attention import compiled


@dataclass
class Kept:
    """Keys and values of a shared beginning, by layer.

    Attributes:
        length: tokens.
        layers: keys and values [1, length, kv heads, width] each; sliding layers keep all as well.
    """

    length: int = 0
    layers: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)


@dataclass
class Branches:
    """What a model takes as attention mask of one row of such tokens; made once a forward.

    Attributes:
        ends: [length] int64: the place in the row after each token's last descendant.
        depths: [length] int64: tokens before each in its text, those left out counted.
        before: what the row's texts begin with, in an earlier forward.
        keep: where this forward leaves its keys and values, after those of `before`.
        window: keys that lie this many tokens back or more are hidden (a sliding window).
    """

    ends: Tensor
    depths: Tensor
    before: Kept
    keep: Kept | None = None
    window: int | None = None

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Attention of every token to its ancestors and itself.

        Args:
            layer: whose keys and values are kept.
            q: [1, length, heads, width]. k, v: [1, length, kv heads, width]; heads is a multiple
                of kv heads, and each group of neighbouring heads shares one.
            scale: what the scores are multiplied by.

        Returns:
            [1, length, heads, width].
        """
        if self.before.length:
            keys, values = self.before.layers[layer]
            k, v = torch.cat([keys, k], 1), torch.cat([values, v], 1)
        if self.keep is not None:
            self.keep.layers[layer] = k, v
        if q.device.type != "cpu":
            return self._by_flex(q, k, v, scale)
        if self.before.length:
            return self._by_blocks(q, k, v, scale)
        return packed_attention(q, k, v, self.packing, scale)

    def _by_flex(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        eager: Any = flex_attention
        attention = compiled(eager) if q.is_cuda else eager
        heads_first = [x.transpose(1, 2) for x in (q, k, v)]
        made: Tensor = attention(*heads_first, block_mask=self.mask, scale=scale, enable_gqa=True)
        return made.transpose(1, 2)

    def _by_blocks(self, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Blocks of queries; heads that share keys are rows of one product."""
        length, heads, width = q.shape[1:]
        kv_heads, before = k.shape[2], self.before.length
        group = heads // kv_heads
        queries = q.view(length, kv_heads, group, width).permute(1, 2, 0, 3)
        keys, values = (x[0].transpose(0, 1) for x in (k, v))
        out = q.new_empty(kv_heads, group, length, width)
        for block, mask in self.block_masks:
            mine = slice(block.start, block.end)
            own = slice(before + block.first, before + block.end)
            seen_keys, seen_values = (
                torch.cat([x[:, :before], x[:, own]], 1)[None] for x in (keys, values)
            )
            made = scaled_dot_product_attention(
                queries[:, :, mine].reshape(1, kv_heads, -1, width),
                seen_keys,
                seen_values,
                attn_mask=mask.expand(group, -1, -1).reshape(-1, mask.shape[1]),
                scale=scale,
            )
            out[:, :, mine] = made.view(kv_heads, group, -1, width)
        return out.permute(2, 0, 1, 3).reshape(q.shape)

    @cached_property
    def packing(self) -> Packing:
        """For `packed_attention`: blocks of queries, and the keys that each may see."""
        return Packing([block for block, _ in self._blocks()], (1, len(self.ends)))

    @cached_property
    def block_masks(self) -> list[tuple[Block, Tensor]]:
        """Blocks of queries, and what each may see of what is left out and of its own keys."""
        made = []
        places = torch.arange(self.before.length)
        for block, seen in self._blocks():
            earlier = torch.ones(seen.shape[0], self.before.length, dtype=torch.bool)
            if self.window is not None:
                depths = self.depths[block.start : block.end, None]
                earlier = depths - places < self.window
            made.append((block, torch.cat([earlier, seen], 1)))
        return made

    @cached_property
    def mask(self) -> BlockMask:
        """For FlexAttention."""
        length, before, window = len(self.ends), self.before.length, self.window
        device = self.ends.device
        earlier = torch.arange(before, device=device)
        ends = torch.cat([torch.full_like(earlier, length), self.ends])
        depths = torch.cat([earlier, self.depths])

        def seen(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            ancestor = (key - before <= query) & (query < ends[key])
            if window is None:
                return ancestor
            return ancestor & (depths[before + query] - depths[key] < window)

        make: Any = compiled(create_block_mask) if self.ends.is_cuda else create_block_mask
        made: BlockMask = make(seen, 1, None, length, before + length, device=device)
        return made

    def _blocks(self) -> list[tuple[Block, Tensor]]:
        """Blocks of queries, each with what its queries see of their own row's keys."""
        length = len(self.ends)
        places = torch.arange(length)
        roots = _roots(self.ends)
        made = []
        for start in range(0, length, BLOCK):
            end = min(length, start + BLOCK)
            first = int(roots[start])
            keys, queries = places[first:end], places[start:end, None]
            seen = (keys <= queries) & (queries < self.ends[first:end])
            if self.window is not None:
                seen &= self.depths[start:end, None] - self.depths[first:end] < self.window
            hides = first + int(seen.all(0).int().cumprod(0).sum())
            hides = min(hides, end - 1)
            bias = torch.zeros(end - start, end - hides).masked_fill_(
                ~seen[:, hides - first :], -torch.inf
            )
            made.append((Block(start, end, first, hides, bias[None, None, :, None, :]), seen))
        return made


def _roots(ends: Tensor) -> Tensor:
    """[length]: where the tree begins that each token is in."""
    roots = torch.empty_like(ends)
    start = 0
    while start < len(ends):
        end = int(ends[start])
        roots[start:end] = start
        start = end
    return roots
