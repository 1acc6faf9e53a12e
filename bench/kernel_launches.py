"""Every kernel launch of an op, without a GPU: its own launching code, run on meta tensors.

`record` lets the ops run forward and backward on tensors of the real shapes that hold no data, and
keeps what they would have launched. What is compiled is therefore what a GPU would compile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._library.custom_ops import OPDEFS
from torch.utils._python_dispatch import TorchDispatchMode
from triton.runtime.jit import JITFunction  # type: ignore[import-untyped]

from marco.kernels.chips import Chip
from marco.kernels.device import assuming

#: hidden, intermediate, heads, kv heads, head width, vocabulary (transformers' Qwen2 configs).
MODELS = {
    "0.5b": (896, 4864, 14, 2, 64, 151_936),
    "1.5b": (1536, 8960, 12, 2, 128, 151_936),
    "7b": (3584, 18_944, 28, 4, 128, 152_064),
    "72b": (8192, 29_568, 64, 8, 128, 152_064),
}
TOKENS = 8192


@dataclass(frozen=True)
class _Properties:
    multi_processor_count: int


@dataclass(frozen=True)
class Launch:
    """A kernel and what it was called with, data aside."""

    kernel: Any
    args: tuple[Any, ...]
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The kernel's."""
        return str(self.kernel.__name__).strip("_")


#: What a host that waits for a number is told, where there is none (Liger's losses ask).
_ANSWERS = {
    torch.ops.aten._local_scalar_dense.default: TOKENS,
    torch.ops.aten.equal.default: False,
}


class _OwnCode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Custom ops run their own code on meta tensors, where torch would only ask for shapes."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func in _ANSWERS:
            return _ANSWERS[func]
        made = OPDEFS.get(func._schema.name)
        return (func if made is None else made._init_fn)(*args, **(kwargs or {}))


@contextmanager
def recording(chip: Chip) -> Iterator[list[Launch]]:
    """Launches of the block, on a machine whose GPUs are this chip."""
    found: list[Launch] = []

    def run(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        found.append(Launch(self, args, options))

    hip = "6.4" if chip.backend == "hip" else None
    properties = _Properties(chip.processors)
    with (
        assuming(chip),
        patch.object(JITFunction, "run", run),
        patch.object(torch.version, "hip", hip),
        # Neither is there for meta tensors, and neither changes what is compiled.
        patch.object(torch, "autocast", lambda *_, **__: nullcontext()),
        patch.object(torch.cuda, "get_device_properties", lambda _=None: properties),
        _OwnCode(),
    ):
        yield found


def record(op: Callable[..., Any], inputs: Sequence[Tensor], chip: Chip) -> list[Launch]:
    """Launches of an op, forward and backward."""
    with recording(chip) as found:
        made = op(*inputs)
        outputs = [made] if isinstance(made, Tensor) else list(made)
        outputs = [x for x in outputs if x.requires_grad]
        wanted = [x for x in inputs if x.requires_grad]
        torch.autograd.grad(outputs, wanted, [torch.empty_like(x) for x in outputs])
    return found


def leaf(dtype: torch.dtype, *shape: int) -> Tensor:
    """A meta tensor that wants a gradient."""
    return torch.empty(shape, dtype=dtype, device="meta", requires_grad=True)


def our_ops(
    model: str, dtype: torch.dtype, tokens: int = TOKENS
) -> dict[str, tuple[Callable[..., Any], list[Tensor]]]:
    """Every Triton op at a model's shapes, in every variant that compiles to other code."""
    from marco.kernels.add_rms_norm import add_rms_norm
    from marco.kernels.linear_cross_entropy_triton import linear_cross_entropy_triton as loss
    from marco.kernels.linear_distillation import linear_distillation
    from marco.kernels.rms_norm import rms_norm
    from marco.kernels.rope import rope
    from marco.kernels.swiglu import swiglu

    hidden, inner, heads, kv_heads, width, vocabulary = MODELS[model]
    x, gain = leaf(dtype, tokens, hidden), leaf(dtype, hidden)
    head = leaf(dtype, vocabulary, hidden)
    targets = torch.empty(tokens, dtype=torch.int64, device="meta")
    table = leaf(dtype, 1, tokens, width).detach()
    q, k = leaf(dtype, 1, tokens, heads, width), leaf(dtype, 1, tokens, kv_heads, width)

    def distil(divergence: str) -> Callable[..., Tensor]:
        return lambda s, sw, t, tw: linear_distillation(
            s, sw, t, tw, divergence=divergence, backend="triton"
        )

    pairs = [x, head, leaf(dtype, tokens, hidden).detach(), leaf(dtype, *head.shape).detach()]
    return {
        "rms_norm": (lambda x, w: rms_norm(x, w, 1e-6), [x, gain]),
        "rms_norm of heads": (lambda x, w: rms_norm(x, w, 1e-6), [q, leaf(dtype, width)]),
        "add_rms_norm": (
            lambda x, r, w: add_rms_norm(x, r, w, 1e-6),
            [x, leaf(dtype, *x.shape), gain],
        ),
        "rope": (rope, [q, k, table, table]),
        "swiglu": (swiglu, [leaf(dtype, tokens, inner), leaf(dtype, tokens, inner)]),
        "linear_cross_entropy": (loss, [x, head, targets]),
        "linear_cross_entropy, every option": (
            lambda x, w, t: loss(
                x,
                w,
                t,
                ignore_index=-100,
                z_loss=1e-4,
                label_smoothing=0.1,
                filter_gradients=True,
                statistics=True,
            ),
            [x, head, targets],
        ),
        "linear_cross_entropy, some ignored": (
            lambda x, w, t: loss(x, w, t, ignore_index=-100),
            [x, head, targets],
        ),
        **{
            f"linear_distillation, {name}": (distil(name), pairs)
            for name in ("kl", "reverse_kl", "js")
        },
    }


def plain_ops(
    model: str, dtype: torch.dtype, tokens: int = TOKENS
) -> dict[str, tuple[Callable[..., Any], list[Tensor]]]:
    """What eager torch does for each of `our_ops` without options, on the same inputs."""
    from marco.kernels.add_rms_norm import add_rms_norm_naive
    from marco.kernels.linear_cross_entropy import linear_cross_entropy_naive
    from marco.kernels.linear_distillation import linear_distillation_naive
    from marco.kernels.rms_norm import rms_norm_naive
    from marco.kernels.rope import rope_naive
    from marco.kernels.swiglu import swiglu_naive

    def distil(divergence: Any) -> Callable[..., Tensor]:
        return lambda *pairs: linear_distillation_naive(*pairs, divergence=divergence)

    plain = {
        "rms_norm": lambda x, w: rms_norm_naive(x, w, 1e-6),
        "rms_norm of heads": lambda x, w: rms_norm_naive(x, w, 1e-6),
        "add_rms_norm": lambda x, r, w: add_rms_norm_naive(x, r, w, 1e-6),
        "rope": rope_naive,
        "swiglu": swiglu_naive,
        "linear_cross_entropy": linear_cross_entropy_naive,
        **{f"linear_distillation, {name}": distil(name) for name in ("kl", "reverse_kl", "js")},
    }
    ours = our_ops(model, dtype, tokens)
    return {name: (op, ours[name][1]) for name, op in plain.items()}


def liger_ops(
    model: str, dtype: torch.dtype, tokens: int = TOKENS
) -> dict[str, tuple[Callable[..., Any], list[Tensor]]]:
    """Liger's op for each of ours that it has, on inputs like ours; its losses are means."""
    from liger_kernel.ops.fused_add_rms_norm import LigerFusedAddRMSNormFunction
    from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction
    from liger_kernel.ops.fused_linear_jsd import LigerFusedLinearJSDFunction
    from liger_kernel.ops.rms_norm import LigerRMSNormFunction
    from liger_kernel.ops.rope import LigerRopeFunction
    from liger_kernel.ops.swiglu import LigerSiLUMulFunction

    hidden, inner, heads, kv_heads, width, vocabulary = MODELS[model]
    x, gain = leaf(dtype, tokens, hidden), leaf(dtype, hidden)
    head = leaf(dtype, vocabulary, hidden)
    targets = torch.empty(tokens, dtype=torch.int64, device="meta")
    table = leaf(dtype, 1, tokens, width).detach()
    q, k = leaf(dtype, 1, tokens, heads, width), leaf(dtype, 1, tokens, kv_heads, width)
    pairs = [x, head, leaf(dtype, tokens, hidden).detach(), leaf(dtype, *head.shape).detach()]

    def rotated(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> list[Tensor]:
        # Heads before length, as transformers has them: views, which it turns back.
        made = LigerRopeFunction.apply(q.transpose(1, 2), k.transpose(1, 2), cos, sin)
        return [x.transpose(1, 2) for x in made]

    def distil(beta: float) -> Callable[..., Tensor]:
        return lambda s, sw, t, tw: LigerFusedLinearJSDFunction.apply(s, sw, t, tw, None, beta)

    return {
        "rms_norm": (lambda x, w: LigerRMSNormFunction.apply(x, w, 1e-6), [x, gain]),
        "rms_norm of heads": (
            lambda x, w: LigerRMSNormFunction.apply(x, w, 1e-6),
            [q, leaf(dtype, width)],
        ),
        "add_rms_norm": (
            lambda x, r, w: LigerFusedAddRMSNormFunction.apply(x, r, w, 1e-6),
            [x, leaf(dtype, *x.shape), gain],
        ),
        "rope": (rotated, [q, k, table, table]),
        "swiglu": (LigerSiLUMulFunction.apply, [leaf(dtype, tokens, inner) for _ in range(2)]),
        "linear_cross_entropy": (
            lambda x, w, t: LigerFusedLinearCrossEntropyFunction.apply(x, w, t)[0],
            [x, head, targets],
        ),
        **{
            f"linear_distillation, {name}": (distil(beta), pairs)
            for name, beta in (("kl", 0.0), ("reverse_kl", 1.0), ("js", 0.5))
        },
    }
