"""What an objective config may say. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from marco.models.kernels import Backend
    from marco.objectives.causal_lm import CausalLanguageModel


@dataclass(frozen=True)
class CausalLM:
    """Predict every next token, each token of the global batch with the same weight."""

    def wrap(
        self, network: PreTrainedModel, vocabulary_limit: int, backend: Backend
    ) -> CausalLanguageModel:
        """Return the root module that runs backbone, head and loss."""
        from marco.objectives.causal_lm import CausalLanguageModel

        return CausalLanguageModel(network, vocabulary_limit, backend)
