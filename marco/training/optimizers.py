"""What an optimizer config may say, and which parameters decay. No torch at import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

KINDS = ("norm", "bias", "embedding")


@dataclass(frozen=True)
class AdamW:
    """AdamW, fused.

    Attributes:
        lr: peak learning rate; the schedule scales it.
        betas: decay of the first and second moment.
        eps: added to the root of the second moment.
        weight_decay: decoupled decay, scaled by the learning rate.
        no_decay: which kinds of parameter never decay, of `norm`, `bias`, `embedding` (OLMo 2,
            arXiv 2501.00656, section 3: decay on embeddings makes them too small).
        clip_norm: largest global norm of the gradient; null never clips.
    """

    lr: float
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    eps: float = 1e-8
    weight_decay: float = 0.1
    no_decay: list[str] = field(default_factory=lambda: list(KINDS))
    clip_norm: float | None = 1.0

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise ConfigError(f"optimizer.lr={self.lr} must be positive.")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"optimizer.betas={list(self.betas)}: two numbers in [0, 1).")
        if self.eps <= 0:
            raise ConfigError(f"optimizer.eps={self.eps} must be positive.")
        if self.weight_decay < 0:
            raise ConfigError(f"optimizer.weight_decay={self.weight_decay} is negative.")
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigError(
                f"optimizer.clip_norm={self.clip_norm} must be positive, or null for none."
            )
        for kind in self.no_decay:
            if kind not in KINDS:
                raise ConfigError(
                    f"optimizer.no_decay: '{kind}' is not one of {', '.join(KINDS)}."
                    f"{nearest(kind, KINDS)}"
                )

    def build(self, model: nn.Module) -> Optimizer:
        """Return the optimizer over `model`'s trainable parameters.

        Parameters in a lower precision than fp32 get fp32 master copies.
        """
        import torch

        from marco.training.master_adamw import MasterAdamW

        options: dict[str, Any] = {
            "lr": self.lr,
            "betas": tuple(self.betas),
            "eps": self.eps,
            "fused": True,
        }
        groups = self.groups(model)
        parameters = [parameter for group in groups for parameter in group["params"]]
        if any(parameter.dtype != torch.float32 for parameter in parameters):
            return MasterAdamW(groups, **options)
        return torch.optim.AdamW(groups, **options)

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Two parameter groups, with and without decay; tied parameters appear once."""
        decayed: list[nn.Parameter] = []
        kept: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                (kept if kind_of(name, parameter.ndim) in self.no_decay else decayed).append(
                    parameter
                )
        groups = [
            {"params": decayed, "weight_decay": self.weight_decay},
            {"params": kept, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]


def kind_of(name: str, dimensions: int) -> str:
    """The kind of a parameter, of `KINDS` or `matrix`, from its name and rank.

    An untied head counts as a matrix; a tied one goes by the embedding's name.
    """
    if name.endswith("bias"):
        return "bias"
    if "embed_tokens" in name:
        return "embedding"
    return "norm" if dimensions == 1 else "matrix"
