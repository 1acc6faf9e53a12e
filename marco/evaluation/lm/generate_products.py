"""Linear layers as generation calls them: the same weights many times, for few rows each time.

On a CPU most of such a product is bringing the weights into the order that the library wants, at
every call. Here it is done once, in a copy that lives as long as the call of `generate`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from marco.kernels.torch_path.types import compute_type
from marco.models.fused_layers import is_plain

Product = Callable[[Tensor], Tensor]
_PACKED = (torch.float32, torch.bfloat16)


def joined(layers: Sequence[Any], rows: int) -> Product | None:
    """Return one product for all of the layers, outputs side by side; None where it gains nothing.

    ``rows`` is how many rows of input there mostly are.
    """
    if not all(type(layer) is nn.Linear and is_plain(layer) for layer in layers):
        return None
    biases = [layer.bias for layer in layers]
    if any(bias is not None for bias in biases):
        every = [
            layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
            for layer in layers
        ]
        return packed([layer.weight for layer in layers], torch.cat(every), rows)
    return packed([layer.weight for layer in layers], None, rows)


def packed(weights: Sequence[Tensor], bias: Tensor | None, rows: int) -> Product | None:
    """Return the product with these weights, ordered once; None where that is not to be had."""
    kind = compute_type(weights[0])
    if not weights[0].is_cpu or kind not in _PACKED or not _library(kind):
        return None
    every = torch.cat([weight.detach() for weight in weights]).to(kind)
    ordered = torch.ops.mkldnn._reorder_linear_weight(every, rows)
    given = None if bias is None else bias.detach().to(kind)

    def product(x: Tensor) -> Tensor:
        made: Tensor = torch.ops.mkldnn._linear_pointwise(
            x.to(kind), ordered, given, "none", [], ""
        )
        return made

    return product


def _library(kind: torch.dtype) -> bool:
    """Whether torch has oneDNN here, in this type; what inductor calls is no public interface."""
    names = ("_reorder_linear_weight", "_linear_pointwise")
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    return kind != torch.bfloat16 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def head(layer: Any, limit: int | None, rows: int) -> Product:
    """Return hidden states → fp32 logits of the first ``limit`` entries: [rows, hidden or limit].

    fp32 from the product itself on a GPU; on a CPU a product in bf16 is rounded to bf16 first.
    """
    if not (type(layer) is nn.Linear and is_plain(layer)):
        return lambda x: layer(x).float()[:, :limit]
    weight, bias = layer.weight[:limit], None if layer.bias is None else layer.bias[:limit]
    ordered = packed([weight], bias, rows)
    if ordered is not None:
        return lambda x: ordered(x).float()
    if weight.is_cuda and bias is None and weight.dtype in (torch.bfloat16, torch.float16):
        return lambda x: torch.mm(x.to(weight.dtype), weight.T, out_dtype=torch.float32)
    return lambda x: functional.linear(x, weight, bias).float()
