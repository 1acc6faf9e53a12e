"""FLOPs, memory and traffic of losses that multiply by a head: ours, eager torch's, Liger's.

    python -m bench.product_traffic   (`bench.kernel_traffic` starts it)

The ops' own code runs on tensors without data, at full size, in bf16. Ours and eager torch run
forward and backward; Liger's makes its gradients in the forward and is spared its backward's
rescaling, as if the loss were the last one. It runs the code it has for a GPU like the chip.

Matrix products, Triton's and cuBLAS', count by `bench.product_model`, torch ops as in
`bench.torch_traffic`.

Memory is the peak of what is alive beside the inputs, less the outputs: loss and both gradients.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils.flop_counter import flop_registry
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction

from bench import kernel_launches
from bench.product_model import Given, cublas, fetches, launch_of
from bench.torch_traffic import Launch, Live, TorchTraffic, size
from marco.kernels.chips import CHIPS, Chip

SIDES = {
    "ours": kernel_launches.our_ops,
    "unfused": kernel_launches.plain_ops,
    "Liger": kernel_launches.liger_ops,
}


class ProductTraffic(TorchTraffic):
    """Torch's ops, their matrix products by the model of a chip."""

    def __init__(self, found: list[Launch], chip: Chip) -> None:
        super().__init__(found)
        self.chip = chip

    def launch(self, func: Any, args: Sequence[Any], kwargs: Given, made: Any) -> Launch:
        """One op's."""
        found = super().launch(func, args, kwargs, made)
        name = found.name.removesuffix("_")
        if getattr(torch.ops.aten, name) not in flop_registry:
            return found
        if name not in ("mm", "addmm"):
            raise NotImplementedError(f"The model has no {found.name}.")
        a, b = args[1:3] if name == "addmm" else args[:2]
        product = cublas(a, b)
        operands = {x.untyped_storage()._cdata for x in (a, b)}
        found.reads = [x for x in found.reads if x.storage not in operands]
        found.reads += fetches(product, (a, b), self.chip)
        found.flops = product.flops
        return found


class _OnGpu(TorchFunctionMode):
    """Tensors without data say that they are on a GPU: without one Liger runs other code."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Given | None = None
    ) -> Any:
        if func == torch.Tensor.device.__get__:
            return torch.device("cuda", 0)
        kwargs = dict(kwargs or {})
        if "device" in kwargs:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def measure(
    op: Callable[..., Tensor], inputs: Sequence[Tensor], chip: Chip
) -> tuple[list[Launch], int, list[Tensor]]:
    """Launches of both passes, peak bytes beside the outputs, and the outputs, on meta tensors.

    The op gives one tensor. Triton's kernels may have been defined for its interpreter.
    """
    found: list[Launch] = []

    def launched(self: Any, *args: Any, grid: Any, warmup: bool, **options: Any) -> None:
        found.append(launch_of(self, args, options, chip))

    live = Live(inputs)
    last = {torch.ops.aten.equal.default: True}
    with (
        live,
        ProductTraffic(found, chip),
        kernel_launches.recording(chip),
        patch.dict(kernel_launches._ANSWERS, last),
        patch.object(JITFunction, "run", launched),
        patch.object(InterpretedFunction, "run", launched),
        patch.object(torch.cuda, "get_device_capability", lambda *_: capability(chip)),
        _OnGpu(),
    ):
        loss = op(*inputs)
        with _disable_current_modes():
            incoming = torch.empty(loss.shape, dtype=loss.dtype, device="meta")
        wanted = [x for x in inputs if x.requires_grad]
        outputs = [loss, *torch.autograd.grad(loss, wanted, incoming)]
    kept = {x.untyped_storage()._cdata: x.untyped_storage().nbytes() for x in outputs}
    return found, live.peak - sum(kept.values()), outputs


def capability(chip: Chip) -> tuple[int, int]:
    """What CUDA, or ROCm for it, calls the chip's: 90 is 9.0, gfx942 is 9.4."""
    return (
        divmod(chip.arch, 10)
        if isinstance(chip.arch, int)
        else (int(chip.arch[3]), int(chip.arch[4]))
    )


def report(name: str, model: str, tokens: int, chip: Chip, side: str) -> dict[str, Any]:
    """One op of one side at so many tokens."""
    op, inputs = SIDES[side](model, torch.bfloat16, tokens)[name]
    found, beside, outputs = measure(op, inputs, chip)
    # Both passes read all inputs; the backward takes the gradient of the per-token loss.
    floor = 2 * sum(map(size, inputs)) + sum(map(size, outputs)) + 4 * tokens
    kernels: dict[str, dict[str, int]] = {}
    for launch in found:
        row = kernels.setdefault(launch.name, {"launches": 0, "moved": 0, "flops": 0})
        row["launches"] += 1
        row["moved"] += launch.moved
        row["flops"] += launch.flops
    return {
        "tokens": tokens,
        "inputs": [list(x.shape) for x in inputs],
        "logits_bytes": tokens * inputs[1].shape[0] * inputs[0].element_size(),
        "floor": floor,
        "moved": sum(launch.moved for launch in found),
        "flops": sum(launch.flops for launch in found),
        "launches": len(found),
        "bytes_beside_outputs": beside,
        "kernels": kernels,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--ops", required=True)
    parser.add_argument("--chip", required=True)
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--liger", action="store_true")
    given = parser.parse_args()
    rows = {
        name: {
            side: [
                report(name, given.model, tokens, CHIPS[given.chip], side)
                for tokens in (given.tokens, max(1, given.tokens // 2))
            ]
            for side in SIDES
            if side != "Liger" or given.liger
        }
        for name in given.ops.split(";")
        if name
    }
    print(json.dumps(rows))
