"""From settings to a transformers model in fp32, with random or pretrained weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from marco.errors import ConfigError
from marco.models.settings import (
    SUPPORTED_ARCHITECTURES,
    Initialiser,
    QwenModel,
    looks_local,
)

if TYPE_CHECKING:
    from marco.models.settings import PretrainedModel

VOCABULARY_MULTIPLE = 64  # rows are padded to this, for tensor cores and even shards


def qwen_config(settings: QwenModel, vocabulary: int) -> PreTrainedConfig:
    """Return the transformers config of a shape, for a tokenizer of `vocabulary` entries.

    Raises:
        ConfigError: the embedding has fewer rows than the tokenizer has entries.
    """
    rows = settings.vocab_size
    if rows is None:
        rows = _rows_for(vocabulary)
    _check_rows(rows, vocabulary)
    shared: dict[str, Any] = {
        "vocab_size": rows,
        "hidden_size": settings.hidden_size,
        "intermediate_size": settings.intermediate_size,
        "num_hidden_layers": settings.num_hidden_layers,
        "num_attention_heads": settings.num_attention_heads,
        "num_key_value_heads": settings.num_key_value_heads,
        "max_position_embeddings": settings.max_position_embeddings,
        "rms_norm_eps": settings.rms_norm_eps,
        "tie_word_embeddings": settings.tie_word_embeddings,
        "rope_parameters": {"rope_type": "default", "rope_theta": settings.rope_theta},
        "initializer_range": settings.initialiser.std,
    }
    if settings.architecture == "qwen3":
        return Qwen3Config(head_dim=settings.heads_width(), attention_bias=False, **shared)
    if settings.heads_width() * settings.num_attention_heads != settings.hidden_size:
        raise ConfigError(
            f"model.head_dim={settings.head_dim}: Qwen2 heads are hidden_size / heads wide; "
            "only model.architecture=qwen3 takes another width."
        )
    return Qwen2Config(**shared)


def config_of(settings: QwenModel | PretrainedModel, vocabulary: int) -> PreTrainedConfig:
    """Return the config of the model that `settings` build, without reading or making weights.

    Raises:
        ConfigError: the embedding is too small for `vocabulary`, or `settings.path` has no config.
    """
    if isinstance(settings, QwenModel):
        return qwen_config(settings, vocabulary)
    config = settings.config()
    if settings.grow:
        config.vocab_size = max(config.vocab_size, _rows_for(vocabulary))
    _check_rows(config.vocab_size, vocabulary)
    return config


def build_qwen(settings: QwenModel, vocabulary: int, seed: int) -> PreTrainedModel:
    """Return a model of the given shape in fp32 on the CPU.

    Raises:
        ConfigError: the pretrained weights are of another shape than the config says.
    """
    config = qwen_config(settings, vocabulary)
    if settings.weights == "random":
        return _random(config, settings.initialiser, seed)
    assert settings.path is not None
    model = load_pretrained(settings.path)
    for key in ("hidden_size", "num_hidden_layers", "intermediate_size", "num_key_value_heads"):
        wanted, found = getattr(config, key), getattr(model.config, key)
        if wanted != found:
            raise ConfigError(
                f"model.{key}={wanted}, but the weights in {settings.path} have {found}. "
                "Use model=pretrained to take the shape from the weights."
            )
    _check_rows(model.config.vocab_size, vocabulary)
    return model


def build_pretrained(settings: PretrainedModel, vocabulary: int, seed: int) -> PreTrainedModel:
    """Return the model at `settings.path` in fp32 on the CPU."""
    if settings.weights == "pretrained":
        model = settings.pretrained()
        if settings.grow:
            _grow(model, _rows_for(vocabulary))
        _check_rows(model.config.vocab_size, vocabulary)
        return model
    config = config_of(settings, vocabulary)
    return _random(config, settings.initialiser, seed)


def initialise(model: PreTrainedModel, initialiser: Initialiser, seed: int) -> None:
    """Draw every weight anew, in the order of `named_parameters`, from one seeded generator."""
    generator = torch.Generator().manual_seed(seed)
    residual = 1.0
    if initialiser.scale_residual:
        residual = 1.0 / math.sqrt(2 * model.config.num_hidden_layers)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim == 1:  # RMSNorm gains, q_norm and k_norm of Qwen3 included
                parameter.fill_(1.0)
            else:
                writes = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = initialiser.std * (residual if writes else 1.0)
                if initialiser.truncate is None:
                    parameter.normal_(0.0, std, generator=generator)
                else:
                    bound = initialiser.truncate * std
                    nn.init.trunc_normal_(parameter, 0.0, std, -bound, bound, generator=generator)


def parameter_count(model: nn.Module, trained: bool = False) -> int:
    """Number of distinct parameters, or of those that are trained; tied ones count once."""
    return sum(
        parameter.numel()
        for parameter in model.parameters()
        if parameter.requires_grad or not trained
    )


def _random(config: PreTrainedConfig, initialiser: Initialiser, seed: int) -> PreTrainedModel:
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    initialise(model, initialiser, seed)
    return model


def _rows_for(vocabulary: int) -> int:
    return math.ceil(vocabulary / VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE


def _grow(model: PreTrainedModel, rows: int) -> None:
    """Give embedding and head at least so many rows; a new one is the mean of the old ones."""
    old = model.config.vocab_size
    if rows <= old:
        return
    model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        for table in (model.get_input_embeddings().weight, model.get_output_embeddings().weight):
            table[old:] = table[:old].mean(dim=0)


def _place(path: str) -> tuple[str]:
    return (str(Path(path).expanduser()) if looks_local(path) else path,)


def config_at(path: str) -> PreTrainedConfig:
    """Return the config of a folder or a hub name, without reading weights. Raises ConfigError."""
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            *_place(path), trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"model.path={path}: its config cannot be read: {error}") from error
    _check_architecture(config, path)
    return config


def load_pretrained(path: str, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Return the model of a folder, a .gguf file or a hub name, on the CPU.

    Raises:
        ConfigError: it cannot be loaded, or is of an architecture that is not supported.
    """
    options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": False}
    (place,) = _place(path)
    if path.endswith(".gguf"):
        options["gguf_file"] = Path(place).name
        place = str(Path(place).parent)
    else:
        options["use_safetensors"] = True
    try:
        model = AutoModelForCausalLM.from_pretrained(place, **options)
    except ImportError as error:
        raise ConfigError(
            f"model.path={path} needs packages that are not installed: "
            f'pip install "marco-train[prepare]". ({error})'
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigError(f"model.path={path} cannot be loaded: {error}") from error
    _check_architecture(model.config, path)
    return model


def _check_architecture(config: PreTrainedConfig, path: str) -> None:
    if config.model_type not in SUPPORTED_ARCHITECTURES:
        raise ConfigError(
            f"model.path={path} is a '{config.model_type}' model; supported: "
            f"{', '.join(SUPPORTED_ARCHITECTURES)}."
        )


def _check_rows(rows: int, vocabulary: int) -> None:
    if rows < vocabulary:
        raise ConfigError(
            f"model.vocab_size={rows} is smaller than the tokenizer's {vocabulary} entries."
        )
