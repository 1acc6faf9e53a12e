"""What an optimizer config may say. No torch at import."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError, nearest
from marco.training.parameter_groups import KINDS, depth, freeze, kind_of, layer_scale

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


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
        freeze: parameters that are not trained, by patterns of their names in transformers
            (`model.layers.0.*`, `*embed_tokens*`): no gradients, and no optimizer state.
        embedding_lr: peak learning rate of the embedding, and of a head that is tied to it; null:
            as all others.
        layer_decay: each layer's learning rate is this part of that of the layer above it, and the
            embedding's of the lowest layer's; null: all are equal.
        ema: decay of an exponential moving average of the weights, kept beside them and read with
            `model.weights=ema`; null keeps none.
    """

    lr: float
    betas: list[float] = field(default_factory=lambda: [0.9, 0.95])
    eps: float = 1e-8
    weight_decay: float = 0.1
    no_decay: list[str] = field(default_factory=lambda: list(KINDS))
    clip_norm: float | None = 1.0
    freeze: list[str] = field(default_factory=list)
    embedding_lr: float | None = None
    layer_decay: float | None = None
    ema: float | None = None

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
        if self.embedding_lr is not None and self.embedding_lr <= 0:
            raise ConfigError(
                f"optimizer.embedding_lr={self.embedding_lr} must be positive, or null "
                "(optimizer.freeze=['*embed_tokens*'] leaves the embedding as it is)."
            )
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ConfigError(
                f"optimizer.layer_decay={self.layer_decay} must be in (0, 1], or null."
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"optimizer.ema={self.ema} must be between 0 and 1, or null.")
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
        from marco.training.weight_average import WeightAverage

        options: dict[str, Any] = {
            "lr": self.lr,
            "betas": tuple(self.betas),
            "eps": self.eps,
            "fused": True,
        }
        groups = self.groups(model)
        parameters = [parameter for group in groups for parameter in group["params"]]
        low = any(parameter.dtype != torch.float32 for parameter in parameters)
        made: Optimizer = (MasterAdamW if low else torch.optim.AdamW)(groups, **options)
        if self.ema is not None:
            WeightAverage(made, self.ema)
        return made

    def freeze_in(self, network: nn.Module) -> int:
        """Freeze what is to be; see `marco.training.parameter_groups.freeze`."""
        return freeze(network, self.freeze)

    def groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """Parameter groups by learning rate, each with and without decay; tied ones appear once.

        `lr_scale` of a group is what the schedule's learning rate is multiplied by.
        """
        layers = depth(name for name, _ in model.named_parameters())
        found: dict[float, dict[bool, list[nn.Parameter]]] = {}
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                kind = kind_of(name, parameter.ndim)
                parts = found.setdefault(self._scale(name, kind, layers), {True: [], False: []})
                parts[kind not in self.no_decay].append(parameter)
        return [
            {"params": part, "weight_decay": self.weight_decay * decays, "lr_scale": scale}
            for scale, parts in found.items()
            for decays, part in parts.items()
            if part
        ]

    def _scale(self, name: str, kind: str, layers: int) -> float:
        if kind == "embedding" and self.embedding_lr is not None:
            return self.embedding_lr / self.lr
        return 1.0 if self.layer_decay is None else layer_scale(name, layers, self.layer_decay)
