"""What a model config may say. No torch here; `build` imports it when a model is wanted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

SUPPORTED_ARCHITECTURES = ("qwen2", "qwen3")


@dataclass(frozen=True)
class Initialiser:
    """How random weights are drawn; norms start at one and biases at zero.

    Attributes:
        std: standard deviation of every matrix and embedding (0.02 in Qwen2's configs).
        truncate: draws beyond this many standard deviations are redrawn (3 in OLMo 2, arXiv
            2501.00656, section 3.2); null draws from the whole normal distribution.
        scale_residual: divide the std of what writes into the residual stream (attention output,
            MLP down projection) by sqrt(2 · layers), as GPT-2 does.
    """

    std: float = 0.02
    truncate: float | None = 3.0
    scale_residual: bool = False

    def __post_init__(self) -> None:
        if self.std <= 0:
            raise ConfigError(f"model.initialiser.std={self.std} must be positive.")
        if self.truncate is not None and self.truncate <= 0:
            raise ConfigError(
                f"model.initialiser.truncate={self.truncate} must be positive, or null."
            )


@dataclass(frozen=True)
class QwenModel:
    """A dense Qwen2, Qwen2.5 or Qwen3 shape; names as in transformers' configs.

    Attributes:
        vocab_size: rows of the embedding; null means the tokenizer's length, rounded up to 64.
        head_dim: null means hidden_size / num_attention_heads (Qwen3 states it).
        weights: `random`, or `pretrained` to read them from `path`.
        path: local folder or hub name of these weights, used when `weights=pretrained`.
    """

    architecture: Literal["qwen2", "qwen3"]
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    tie_word_embeddings: bool
    vocab_size: int | None = None
    head_dim: int | None = None
    rope_theta: float = 1_000_000.0
    rms_norm_eps: float = 1e-6
    initialiser: Initialiser = field(default_factory=Initialiser)
    weights: Literal["random", "pretrained"] = "random"
    path: str | None = None

    def __post_init__(self) -> None:
        for key in (
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "max_position_embeddings",
        ):
            if getattr(self, key) < 1:
                raise ConfigError(f"model.{key}={getattr(self, key)} must be at least 1.")
        heads, kv_heads = self.num_attention_heads, self.num_key_value_heads
        if heads % kv_heads:
            raise ConfigError(
                f"model.num_attention_heads={heads} must be a multiple of "
                f"model.num_key_value_heads={kv_heads}."
            )
        if self.head_dim is None and self.hidden_size % heads:
            raise ConfigError(
                f"model.hidden_size={self.hidden_size} must be a multiple of "
                f"model.num_attention_heads={heads} (or set model.head_dim)."
            )
        if self.heads_width() % 2:
            raise ConfigError(
                f"A head of {self.heads_width()} values cannot be rotated: RoPE needs an even "
                "head_dim (model.hidden_size / model.num_attention_heads)."
            )
        if self.weights == "pretrained" and self.path is None:
            raise ConfigError("model.weights=pretrained needs model.path=<folder or hub name>.")

    def heads_width(self) -> int:
        """Values per attention head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    def check(self) -> None:
        """Raise ConfigError where the weights that are asked for cannot be there."""
        if self.weights == "pretrained":
            assert self.path is not None
            check_weights(self.path)

    def vocabulary_rows(self) -> int | None:
        """Rows of the embedding; None where the tokenizer, or a hub's model, decides."""
        if self.weights == "pretrained" and self.path is not None:
            return rows_at(self.path)
        return self.vocab_size

    def build(self, vocabulary: int, seed: int) -> PreTrainedModel:
        """Return the fp32 model; see `marco.models.build.build_qwen`."""
        from marco.models.build import build_qwen

        return build_qwen(self, vocabulary, seed)


@dataclass(frozen=True)
class PretrainedModel:
    """Any Qwen2, Qwen2.5 or Qwen3 checkpoint: its own config decides the shape.

    Attributes:
        path: local folder with config.json and safetensors, a .gguf file, or a hub name.
        weights: `pretrained`, or `random` to keep the shape only.
        grow: give tokens that the embedding has no row for (those of `tokenizer=chat`) new rows:
            the mean of the others.
    """

    path: str
    weights: Literal["random", "pretrained"] = "pretrained"
    initialiser: Initialiser = field(default_factory=Initialiser)
    grow: bool = False

    def check(self) -> None:
        """Raise ConfigError when `path` holds nothing that can be loaded."""
        check_weights(self.path)

    def vocabulary_rows(self) -> int | None:
        """Rows of the embedding; None where only a GGUF file or the hub knows, or they grow."""
        return None if self.grow else rows_at(self.path)

    def config(self) -> PreTrainedConfig:
        """Return the config at `path`, before the embedding grows. Raises ConfigError."""
        from marco.models.build import config_at

        return config_at(self.path)

    def pretrained(self) -> PreTrainedModel:
        """Return the model at `path`, before its embedding grows. Raises ConfigError."""
        from marco.models.build import load_pretrained

        return load_pretrained(self.path)

    def build(self, vocabulary: int, seed: int) -> PreTrainedModel:
        """Return the fp32 model; see `marco.models.build.build_pretrained`."""
        from marco.models.build import build_pretrained

        return build_pretrained(self, vocabulary, seed)


def looks_local(path: str) -> bool:
    """Whether a model path names a place on disk; a hub name is `name` or `owner/name`."""
    place = Path(path).expanduser()
    slashes = path.count("/")
    return (
        place.exists()
        or path.startswith(("/", ".", "~"))
        or slashes > 1
        or (slashes == 1 and place.parent.is_dir())
    )


def rows_at(path: str) -> int | None:
    """The vocabulary that a local model folder's config states, or None."""
    config = Path(path).expanduser() / "config.json"
    if not config.is_file():
        return None
    rows = json.loads(config.read_text(encoding="utf-8")).get("vocab_size")
    return rows if isinstance(rows, int) else None


def check_weights(path: str) -> None:
    """Check a local model folder or GGUF file without reading its tensors."""
    if path.endswith(".gguf"):
        if not Path(path).expanduser().is_file():
            raise ConfigError(f"model.path={path}: there is no such GGUF file.")
        return
    if not looks_local(path):
        return  # a hub name: only the hub can say
    folder = Path(path).expanduser()
    if not folder.is_dir():
        beside = folder.parent
        names = [entry.name for entry in beside.iterdir()] if beside.is_dir() else []
        raise ConfigError(f"model.path={path}: no such folder.{nearest(folder.name, names)}")
    config = folder / "config.json"
    if not config.is_file():
        raise ConfigError(f"model.path={path}: the folder has no config.json.")
    try:
        kind = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise ConfigError(f"{config} is not a model config: {error}") from error
    if kind not in SUPPORTED_ARCHITECTURES:
        raise ConfigError(
            f"model.path={path} is a '{kind}' model; supported: "
            f"{', '.join(SUPPORTED_ARCHITECTURES)}."
        )
    if not any(folder.glob("*.safetensors")):
        raise ConfigError(f"model.path={path}: the folder has no *.safetensors file.")
