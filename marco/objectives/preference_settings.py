"""What the configs of preference objectives may say. No torch here."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from marco.errors import ConfigError
from marco.objectives.settings import CausalLM

if TYPE_CHECKING:
    from torch import Tensor

    from marco.objectives.pair_loss import PairLoss


@dataclass(frozen=True)
class Preference(CausalLM, ABC):
    """What they share: a loss of each pair of answers, each pair with the same weight.

    Attributes:
        beta: how sharply margins count; what exactly is each loss' own.
    """

    beta: float

    pairs: ClassVar = True
    reference: ClassVar = False
    """Whether margins are against the model as it is when the run starts."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta > 0):
            raise ConfigError(f"objective.beta={self.beta}: above 0, and finite.")

    @property
    def averages(self) -> bool:
        """Whether log-probabilities are divided by the answers' lengths."""
        return True

    @abstractmethod
    def pair_losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """Return the loss of each pair, [pairs], from `marco.objectives.preference.log_ratio`."""

    def loss(self) -> PairLoss:
        """See `CausalLM`."""
        from marco.objectives.pair_loss import PairLoss

        return PairLoss(self)


@dataclass(frozen=True)
class _Smoothed(Preference, ABC):
    """A loss that takes the chance of wrong labels into account.

    Attributes:
        label_smoothing: the probability that a pair is the wrong way round.
    """

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.label_smoothing < 0.5:
            raise ConfigError(
                f"objective.label_smoothing={self.label_smoothing}: at least 0, and below 0.5, "
                "from where on the labels say nothing, or the opposite."
            )


@dataclass(frozen=True)
class Dpo(_Smoothed):
    """Direct preference optimisation (arXiv 2305.18290).

    Attributes:
        length_normalisation: margins of averages over the answers' tokens instead of sums (as Tülu
            3 does, arXiv 2411.15124): then `beta` is larger, about 5.
    """

    length_normalisation: bool = False

    reference: ClassVar = True

    @property
    def averages(self) -> bool:
        """See `Preference`."""
        return self.length_normalisation

    def pair_losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """See `Preference`."""
        from marco.objectives.preference import dpo_loss

        return dpo_loss(chosen, rejected, self.beta, self.label_smoothing)


@dataclass(frozen=True)
class Ipo(Preference):
    """Identity preference optimisation (arXiv 2310.12036).

    Attributes:
        length_normalisation: averages over the answers' tokens instead of sums, without which the
            squared loss grows with length.
    """

    length_normalisation: bool = True

    reference: ClassVar = True

    @property
    def averages(self) -> bool:
        """See `Preference`."""
        return self.length_normalisation

    def pair_losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """See `Preference`."""
        from marco.objectives.preference import ipo_loss

        return ipo_loss(chosen, rejected, self.beta)


@dataclass(frozen=True)
class Orpo(Preference):
    """Odds ratio preference optimisation (arXiv 2403.07691): likelihood and preference in one."""

    def pair_losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """See `Preference`."""
        from marco.objectives.preference import orpo_loss

        return orpo_loss(chosen, rejected, self.beta)


@dataclass(frozen=True)
class SimPo(_Smoothed):
    """SimPO (arXiv 2405.14734): averages, without a reference.

    Attributes:
        gamma: the margin that β times the difference of averages should have.
    """

    gamma: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise ConfigError(f"objective.gamma={self.gamma}: at least 0, and finite.")

    def pair_losses(self, chosen: Tensor, rejected: Tensor) -> Tensor:
        """See `Preference`."""
        from marco.objectives.preference import simpo_loss

        return simpo_loss(chosen, rejected, self.beta, self.gamma, self.label_smoothing)
