"""What an objective config may say. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from marco.models.kernels import Backend
    from marco.objectives.causal_lm import CausalLanguageModel
    from marco.objectives.objective import Objective


@dataclass(frozen=True)
class CausalLM:
    """Predict every next token, each token of the global batch with the same weight."""

    pairs: ClassVar = False
    """Whether it compares two answers, so that its data must be pairs."""

    def wrap(
        self, network: PreTrainedModel, vocabulary_limit: int, backend: Backend
    ) -> CausalLanguageModel:
        """Return the root module that runs backbone, head and loss."""
        from marco.objectives.causal_lm import CausalLanguageModel

        return CausalLanguageModel(network, vocabulary_limit, backend)

    def loss(self) -> Objective:
        """Return what makes of the root module's losses the one that is minimised."""
        from marco.objectives.objective import TokenLoss

        return TokenLoss()
