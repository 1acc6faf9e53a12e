"""What a step of training holds besides weights and optimizer state, found without computing it.

The model itself runs forward and backward on fake tensors, which have shapes, types and lifetimes
and no data. Every storage that comes to life is counted until it dies; the most that lived at once
is the answer. So autograd's saved tensors, autocast's copies and what an operation makes for itself
are counted as they are, whatever the backend keeps.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from marco.kernels.linear_cross_entropy import linear_cross_entropy, linear_cross_entropy_naive
from marco.kernels.torch_path.attention import Packing
from marco.kernels.torch_path.embedding import Tie, embedding
from marco.models.fused import fuse, layers_of
from marco.models.kernels import Backend
from marco.models.recompute import Recompute, recompute
from marco.planning.trace import ATTENTION, attend_on_shapes, register_attention

#: Layers of the two models that are traced; the peaks of any other depth lie on a line with these.
DEPTHS = (2, 3)


@dataclass(frozen=True)
class StepShape:
    """What decides how much a step keeps.

    Attributes:
        rows, length: of one micro-batch on one device; each row is taken for one document.
        precision: `fp32`, `bf16-autocast` or `bf16-master`, as in `marco.training.trainer`.
        backend: of the layers' operations. `native` keeps what `torch` does, and compiled layers
            are taken to keep what transformers' own do.
        fused_loss: the head's loss without whole logits, or transformers' way with them.
        checkpointing: each layer, or every other one, is computed again in the backward.
    """

    rows: int
    length: int
    precision: str
    backend: Backend
    fused_loss: bool
    checkpointing: Recompute


@dataclass(frozen=True)
class StepPeak:
    """Bytes at the most beyond weights and optimizer state, on one device, nothing sharded.

    Attributes:
        fresh: in a step of one micro-batch, its gradients as they come to life included.
        waiting: where all gradients are there already (more micro-batches), not counting those.
    """

    fresh: int
    waiting: int


def step_peak(config: PreTrainedConfig, shape: StepShape) -> StepPeak:
    """Trace two shallow models, and extend their peaks to the config's layers.

    Where every other layer is computed again, these models have twice the layers, odd or even as
    the config's.

    A step's memory peaks about where the backward begins (all activations, few gradients) or
    where it ends (one layer's activations, all gradients): each grows by the same bytes a layer.
    """
    layers = config.num_hidden_layers
    apart = 2 if shape.checkpointing == "selective" else 1
    first = DEPTHS[0] * apart + layers % apart
    if layers <= first + apart:
        return _largest(_trace(config, shape, layers))
    small, large = (_trace(config, shape, depth) for depth in (first, first + apart))
    more = (layers - first) // apart - 1
    return _largest([b + more * (b - a) for a, b in zip(small, large, strict=True)])


def _largest(peaks: Sequence[int]) -> StepPeak:
    return StepPeak(fresh=max(peaks[:2]), waiting=max(peaks[2:]))


def _trace(config: PreTrainedConfig, shape: StepShape, layers: int) -> list[int]:
    """Peaks of two micro-batches: up to the end of the last layer's backward, and from there on.

    The second's are beyond the gradients that the first has left.
    """
    register_attention()
    config = copy.deepcopy(config)
    config.num_hidden_layers = layers
    config.layer_types = config.layer_types[:layers]
    on_cpu = shape.backend in ("torch", "native")
    packing = Packing.of(torch.arange(shape.length).expand(shape.rows, -1)) if on_cpu else None
    dtype = torch.bfloat16 if shape.precision == "bf16-master" else torch.float32
    peaks = []
    with FakeTensorMode(allow_non_fake_inputs=True), _Living() as living:
        network = AutoModelForCausalLM.from_config(config, dtype=dtype)
        network.train()
        recompute(network, shape.checkpointing)
        _install(network, shape.backend)
        for _ in range(2):
            living.begin()
            # Autocast is the CPU's: fake tensors of a GPU need one, and the casts are the same.
            autocast = shape.precision == "bf16-autocast"
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                loss = _loss(network, shape, packing, living.mark)
            loss.backward()  # type: ignore[no-untyped-call]
            del loss
            peaks += living.peaks()
    return peaks


def _install(network: PreTrainedModel, backend: Backend) -> None:
    if backend in ("torch", "native"):
        fuse(network, "torch")
    elif backend == "triton":
        fuse(network, "triton")
        for layer in layers_of(network):
            layer.self_attn.fused = replace(layer.self_attn.fused, attend=attend_on_shapes)
    else:
        network.set_attn_implementation(ATTENTION)


def _loss(
    network: PreTrainedModel, shape: StepShape, packing: Packing | None, mark: Callable[[], None]
) -> Tensor:
    """As in `marco.objectives.causal_lm`, whose packing needs to see positions."""
    ids, positions = (torch.zeros(shape.rows, shape.length, dtype=torch.int64) for _ in range(2))
    table, head = network.model.embed_tokens.weight, network.lm_head.weight
    tie = Tie() if packing is not None and table is head and shape.fused_loss else None
    states = embedding(ids, head, tie) if tie else network.model.embed_tokens(ids)

    def when_last_layer_is_through(layer: Any, inputs: Any, kwargs: Mapping[str, Any]) -> None:
        entered = inputs[0] if inputs else kwargs["hidden_states"]
        if entered.requires_grad:
            entered.register_hook(lambda _: mark())

    last = layers_of(network)[-1]
    handle = last.register_forward_pre_hook(when_last_layer_is_through, with_kwargs=True)
    hidden = network.model(
        inputs_embeds=states,
        attention_mask=dict.fromkeys(network.config.layer_types, packing),
        position_ids=positions,
        use_cache=False,
    ).last_hidden_state.flatten(0, 1)
    handle.remove()
    scale = 1 / ids.numel()
    if not shape.fused_loss:
        return linear_cross_entropy_naive(hidden, head, ids.flatten()).sum() * scale
    losses = linear_cross_entropy(
        hidden,
        head,
        ids.flatten(),
        ignore_index=None,
        backend="triton" if shape.backend == "triton" else "torch",
        upstream=scale,
        tie=tie,
    )
    return losses.sum() * scale


class _Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the storages that are alive."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._now = 0
        self._known: set[int] = set()
        self.begin()

    def begin(self) -> None:
        """Count from what lives now."""
        self._start = self._peak = self._now
        self._first: int | None = None

    def mark(self) -> None:
        """The last layer's backward is through (under checkpointing, its first mark counts)."""
        if self._first is None:
            self._first, self._peak = self._peak, self._now

    def peaks(self) -> list[int]:
        """Bytes above the beginning: up to the mark, and after it."""
        first = self._peak if self._first is None else self._first
        return [first - self._start, self._peak - self._start]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is torch.ops.aten.equal.default:  # the loss asks whether its gradients are right
            return True
        made = func(*args, **(kwargs or {}))
        for x in tree_leaves(made):
            if isinstance(x, Tensor):
                self._meet(x.untyped_storage())
        self._peak = max(self._peak, self._now)
        return made

    def _meet(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._known:
            size = storage.nbytes()
            self._known.add(key)
            self._now += size
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._now -= size
