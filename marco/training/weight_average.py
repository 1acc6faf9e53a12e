"""An exponential moving average of the weights, kept as a part of the optimizer's state.

There it is sharded, saved and restored as the moments are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

#: The key of a parameter's average in the optimizer's state.
EMA = "ema"


class WeightAverage:
    """After every step, average ← decay · average + (1 - decay) · weight.

    The first average is the weight before the first step. Of weights in a lower precision it is
    their fp32 masters that are averaged. What gets no gradient in a step is left out of it.

    Args:
        optimizer: steps of its from now on are followed.
        decay: in (0, 1).
    """

    def __init__(self, optimizer: Optimizer, decay: float) -> None:
        self.decay = decay
        self._before: dict[Tensor, Tensor] = {}
        optimizer.register_step_pre_hook(self._keep)
        optimizer.register_step_post_hook(self._follow)

    @torch.no_grad()
    def _keep(self, optimizer: Optimizer, *_: Any) -> None:
        """Copy weights without an average; torch would take a state that has one for begun."""
        self._before = {
            parameter: parameter.detach().to(torch.float32, copy=True)
            for group in optimizer.param_groups
            for parameter in group["params"]
            if EMA not in optimizer.state.get(parameter, ())
        }

    @torch.no_grad()
    def _follow(self, optimizer: Optimizer, *_: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = optimizer.state[parameter]
                if EMA not in state:
                    state[EMA] = self._before.pop(parameter)
                state[EMA].lerp_(state.get("master", parameter), 1 - self.decay)
        self._before = {}


def forget(optimizer: Optimizer) -> None:
    """Drop the averages that a checkpoint brought: nothing would keep them up to date."""
    for state in optimizer.state.values():
        state.pop(EMA, None)
