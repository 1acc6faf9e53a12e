"""The model of a run by its shape: no weights are read or made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from marco.config import RunSettings
from marco.models.build import config_of, parameter_count
from marco.training.assemble import flops_per_token


@dataclass(frozen=True)
class Network:
    """What a plan needs to know of a model.

    Attributes:
        config: transformers' config, its vocabulary included.
        parameters: distinct ones, adapters' included; tied ones count once.
        trained: of these, those that are neither frozen nor under an adapter.
        root: of these, the parameters outside of the decoder layers.
        layer: of one decoder layer.
        flops_per_token: `marco.tracking.flops`, forward and backward.
    """

    config: PreTrainedConfig
    parameters: int
    trained: int
    root: int
    layer: int
    flops_per_token: float


def network_of(run: RunSettings, vocabulary: int) -> Network:
    """Describe a run's model, for a tokenizer of `vocabulary` entries.

    Raises:
        ConfigError: a shape that does not fit the vocabulary, or that only a hub knows.
    """
    config = config_of(run.model, vocabulary)
    model = on_meta(config)
    if run.adapter is not None:
        run.adapter.put_into(model, run.seed)
    run.optimizer.freeze_in(model)
    parameters = parameter_count(model)
    layer = parameter_count(model.model.layers[0])
    return Network(
        config=config,
        parameters=parameters,
        trained=parameter_count(model, trained=True),
        root=parameters - layer * config.num_hidden_layers,
        layer=layer,
        flops_per_token=flops_per_token(model, run.batch.sequence_length),
    )


def on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    """Return the model on torch's meta device: shapes alone."""
    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model
