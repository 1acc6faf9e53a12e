"""What a step of training does to a GPU's memory and matrix units, found without one.

The model itself runs forward and backward on meta tensors, which have shapes and no data. Every op
that arrives at the dispatcher is a kernel that reads its operands once and writes its results once;
views are free. So transformers' own layers and the fused ones are counted by the same rule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from transformers import AttentionInterface, AutoModelForCausalLM, PreTrainedConfig

from marco.kernels.linear_cross_entropy import linear_cross_entropy_naive
from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton
from marco.models.kernels import install
from marco.planning.roofline import Work

#: Bytes a parameter of a fused AdamW with fp32 masters of bf16 weights: it reads the gradient (2),
#: master and both moments (12), and writes those (12) and the weight (2).
ADAMW_BYTES = 28
ATTENTION = "marco_planning"
_VIEWS = {"aten::_unsafe_view", "aten::detach", "aten::lift_fresh"}


def trace_step(config: PreTrainedConfig, rows: int, length: int, *, fused: bool) -> list[Work]:
    """The kernels of one step on `rows` × `length` tokens in bf16, each row one document.

    Without recomputation of activations, on one device. Attention is a flash kernel either way.

    Args:
        fused: with marco's Triton kernels (`kernels=triton`), or transformers as it comes.
    """
    register_attention()
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    network.train()
    install(network, "triton" if fused else "reference")
    if fused:
        for layer in network.model.layers:
            attention = layer.self_attn
            attention.fused = replace(attention.fused, attend=attend_on_shapes)
    else:
        network.set_attn_implementation(ATTENTION)
    ids, positions = (torch.zeros(rows, length, dtype=torch.int64, device="meta") for _ in range(2))
    head = network.lm_head.weight

    def step() -> None:
        hidden = network.model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=dict.fromkeys(config.layer_types),
            use_cache=False,
        ).last_hidden_state.flatten(0, 1)
        loss = linear_cross_entropy_triton if fused else linear_cross_entropy_naive
        loss(hidden, head, ids.flatten()).mean().backward()  # type: ignore[no-untyped-call]

    parameters = sum(parameter.numel() for parameter in network.parameters())
    return [*trace(step), Work("adamw", ADAMW_BYTES * parameters)]


def trace(run: Callable[[], object]) -> list[Work]:
    """The kernels of anything that runs on meta tensors, in order."""
    found: list[Work] = []
    with _Kernels(found):
        run()
    return found


class _Kernels(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, found: list[Work]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = found

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        name = func._schema.name
        if func.is_view or name in _VIEWS:
            return made
        count = flop_registry.get(func.overloadpacket)
        flops = count(*args, **kwargs, out_val=made) if count else 0
        own = _OWN_FLOPS.get(name)
        size = sum(_bytes(x) for x in tree_leaves((args, kwargs, made)) if isinstance(x, Tensor))
        if name == "aten::embedding":  # reads the rows that it writes
            size = 2 * _bytes(made) + _bytes(args[1])
        dtype = _dtype(args)
        self.found.append(Work(name, size, own(args) if own else flops, dtype))
        return made


def _bytes(x: Tensor) -> int:
    """Of what is there: dimensions that `expand` repeats are read once."""
    elements = 1
    for extent, stride in zip(x.shape, x.stride(), strict=True):
        elements *= extent if stride else min(extent, 1)
    return elements * x.element_size()


def _dtype(args: Sequence[Any]) -> str:
    """That of a product's operands: the narrowest, for what is fp32 beside them are sums."""
    floats = [x.dtype for x in tree_leaves(args) if isinstance(x, Tensor) and x.is_floating_point()]
    return str(min(floats, key=lambda x: x.itemsize, default="bfloat16")).removeprefix("torch.")


def _product(args: Sequence[Any], at: int) -> int:
    return 2 * int(args[at].numel() * args[at + 1].shape[0])


def _causal(args: Sequence[Any]) -> int:
    """Scores and sums over half of the keys: 4 · ½ · batch · heads · length² · width."""
    q = args[-3]
    return 2 * int(q.numel() * q.shape[1])


_OWN_FLOPS: dict[str, Callable[[Sequence[Any]], int]] = {
    # The backward makes the logits again, then both gradients.
    "marco::linear_cross_entropy_triton": lambda args: _product(args, 0),
    "marco::linear_cross_entropy_triton_bwd": lambda args: 3 * _product(args, 1),
    "marco_planning::attention": _causal,
    # The backward of a flash kernel makes the scores again: five products for two.
    "marco_planning::attention_backward": lambda args: 5 * _causal(args) // 2,
}


@torch.library.custom_op("marco_planning::attention", mutates_args=())
def flash_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal, of rows that are each one document: [rows, length, heads, width] in and out."""
    raise NotImplementedError("only shapes pass through here")


@torch.library.custom_op("marco_planning::attention_backward", mutates_args=())
def _attention_backward(
    dy: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    raise NotImplementedError("only shapes pass through here")


@flash_attention.register_fake
def _(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return q.new_empty(q.shape)


@_attention_backward.register_fake
def _(dy: Tensor, y: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(output, *inputs)


def _backward(ctx: Any, dy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    made: tuple[Tensor, Tensor, Tensor] = _attention_backward(dy, *ctx.saved_tensors)
    return made


flash_attention.register_autograd(_backward, setup_context=_setup_context)


def attend_on_shapes(attention: Any, q: Tensor, k: Tensor, v: Tensor, *_: Any, **__: Any) -> Tensor:
    """Stands where `marco.models.attention.attend` does: length before heads."""
    made: Tensor = flash_attention(q, k, v)
    return made


def _attention_forward(
    module: Any, q: Tensor, k: Tensor, v: Tensor, mask: Any, **_: Any
) -> tuple[Tensor, None]:
    """transformers' interface: heads before length in, length before heads out."""
    return flash_attention(*(x.transpose(1, 2) for x in (q, k, v))), None


def register_attention() -> None:
    """Make `ATTENTION` known to transformers: a flash kernel by its shapes."""
    AttentionInterface.register(ATTENTION, _attention_forward)
