"""That weights are those of a config, and the config.json that goes beside written ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig

from marco.errors import ConfigError, DataError
from marco.models.settings import SUPPORTED_ARCHITECTURES
from marco.models.tensors.weights import Weights

_HEAD, _EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def read_config(folder: Path) -> PreTrainedConfig:
    """Return the config of a folder.

    Raises:
        ConfigError: there is none, or it is of an architecture that is not supported.
    """
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} has no config.json, so it is no model of transformers.")
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder / 'config.json'} cannot be read: {error}") from error
    if config.model_type not in SUPPORTED_ARCHITECTURES:
        raise ConfigError(
            f"{folder} is a '{config.model_type}' model; supported: "
            f"{', '.join(SUPPORTED_ARCHITECTURES)}."
        )
    return config


def fitting(weights: Weights, config: PreTrainedConfig) -> Weights:
    """Return the weights that the model of `config` has, in its order; of tied ones the embedding.

    Raises:
        DataError: a tensor is missing, of another shape, or of no such model.
    """
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = dict(weights.tensors)
    if config.tie_word_embeddings and _EMBEDDING in found:
        shapes.pop(_HEAD, None)
        found.pop(_HEAD, None)
    problems = [f"{name} is missing" for name in shapes if name not in found]
    problems += [f"{name} is no tensor of its config's model" for name in found.keys() - shapes]
    problems += [
        f"{name} has the shape {list(found[name].shape)}, its config says {list(shape)}"
        for name, shape in shapes.items()
        if name in found and found[name].shape != shape
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise DataError(f"{weights.name}: {'; '.join(sorted(problems)[:3])}{more}.")
    return replace(weights, tensors={name: found[name] for name in shapes})


def write_config(config: PreTrainedConfig, dtype: torch.dtype, folder: Path) -> None:
    """Write config.json for weights of `dtype`, naming the class that plain transformers loads."""
    with torch.device("meta"):
        config.architectures = [type(AutoModelForCausalLM.from_config(config)).__name__]
    config.dtype = dtype
    config.save_pretrained(folder)
