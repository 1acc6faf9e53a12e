"""AdamW over low-precision weights, with fp32 master copies and moments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw


class MasterAdamW(Optimizer):
    """The update happens on an fp32 copy of each weight, and is rounded into the weight.

    A bf16 weight alone loses every update below 1/256 of it. State per parameter, all fp32:
    `master`, `exp_avg`, `exp_avg_sq`, and `step` (a scalar), as torch's AdamW has them.

    Args:
        params: parameter groups; `weight_decay` per group.
        lr, betas, eps: as in torch.optim.AdamW.
        fused: one kernel for all of a group.
    """

    def __init__(
        self,
        params: list[dict[str, Any]],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float = 0.0,
        fused: bool = True,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "fused": fused,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # type: ignore[override]
        """Run `closure` (with gradients), then one update of every parameter with a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            used = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not used:
                continue
            states = [self._state(parameter) for parameter in used]
            masters = [state["master"] for state in states]
            adamw(
                masters,
                [parameter.grad.float() for parameter in used if parameter.grad is not None],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=group["fused"],
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                maximize=False,
            )
            for parameter, master in zip(used, masters, strict=True):
                parameter.copy_(master)  # one by one: the foreach form refuses shards
        return loss

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
            state["master"] = parameter.detach().to(torch.float32, copy=True)
            state["exp_avg"] = torch.zeros_like(state["master"])
            state["exp_avg_sq"] = torch.zeros_like(state["master"])
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch's, but the fp32 state stays fp32 (torch casts it to the weight's type)."""
        super().load_state_dict(state_dict)
        flat = [parameter for group in self.param_groups for parameter in group["params"]]
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        for number, parameter in zip(numbers, flat, strict=True):
            saved = state_dict["state"].get(number)
            if saved is not None:
                self.state[parameter] = {
                    key: value.to(torch.float32, copy=True) for key, value in saved.items()
                }
