"""Low-rank adapters by peft: what is trained in place of the weights. No torch at import."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: The linear layers of a decoder layer; the head is the loss' own.
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
#: peft's name for the one adapter there is.
NAME = "default"


@dataclass(frozen=True)
class LoRA:
    """W x becomes W x + scale · B A x, and only A and B are trained (arXiv 2106.09685).

    Attributes:
        r: the rank: rows of A.
        alpha: the scale is alpha / r.
        dropout: of the input of A, in training.
        target_modules: which linear layers have one, of `LINEARS`.
        rank_stabilised: the scale is alpha / sqrt(r) instead (rsLoRA, arXiv 2312.03732).
        dora: each row of the sum is scaled to a length that is trained as well (DoRA, arXiv
            2402.09353).
    """

    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: list[str] = field(default_factory=lambda: list(LINEARS))
    rank_stabilised: bool = False
    dora: bool = False

    def __post_init__(self) -> None:
        if self.r < 1:
            raise ConfigError(f"adapter.r={self.r} must be at least 1.")
        if self.alpha <= 0:
            raise ConfigError(f"adapter.alpha={self.alpha} must be positive.")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"adapter.dropout={self.dropout} must be in [0, 1).")
        if not self.target_modules:
            raise ConfigError("adapter.target_modules is empty: nothing would be trained.")
        for name in self.target_modules:
            if name not in LINEARS:
                raise ConfigError(
                    f"adapter.target_modules: '{name}' is not one of {', '.join(LINEARS)}."
                    f"{nearest(name, LINEARS)}"
                )

    @property
    def scale(self) -> float:
        """What B A x is multiplied by."""
        return self.alpha / (self.r**0.5 if self.rank_stabilised else self.r)

    def check(self) -> None:
        """Raise ConfigError where peft is not installed."""
        if find_spec("peft") is None:
            raise ConfigError('adapter= needs peft: pip install "marco-train[peft]".')

    def put_into(self, network: PreTrainedModel, seed: int) -> None:
        """Give the network's linear layers adapters, and freeze all else.

        At first they change nothing: B is zero, and A drawn from `seed`. To be done before the
        kernels are installed (`marco.models.kernels.install`).
        """
        self.check()
        import torch
        from peft import LoraConfig, inject_adapter_in_model

        config = LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft divides by r, whole or not
            lora_dropout=self.dropout,
            target_modules=list(self.target_modules),
            use_rslora=self.rank_stabilised,
            use_dora=self.dora,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            inject_adapter_in_model(config, network, adapter_name=NAME)


def merge(network: PreTrainedModel) -> None:
    """Add what the adapters have learnt to the weights, in place, and take the adapters out."""
    from peft.tuners.lora import LoraLayer

    wrapped = [(name, m) for name, m in network.named_modules() if isinstance(m, LoraLayer)]
    for name, module in wrapped:
        layer: Any = module
        layer.merge()
        parent, _, own = name.rpartition(".")
        setattr(network.get_submodule(parent), own, layer.get_base_layer())
    network.requires_grad_(True)
