"""Which parameters are trained, and what part of the learning rate each has. No torch at import."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from marco.errors import ConfigError, nearest

if TYPE_CHECKING:
    from torch import nn

KINDS = ("norm", "bias", "embedding")
_LAYER = re.compile(r"\blayers\.(\d+)\.")


def kind_of(name: str, dimensions: int) -> str:
    """The kind of a parameter, of `KINDS` or `matrix`, from its name and rank.

    An untied head counts as a matrix; a tied one goes by the embedding's name.
    """
    if name.endswith("bias"):
        return "bias"
    if "embed_tokens" in name:
        return "embedding"
    return "norm" if dimensions == 1 else "matrix"


def freeze(network: nn.Module, patterns: Sequence[str]) -> int:
    """Take the parameters whose names match any of the patterns out of training.

    Names are those of ``network.named_parameters()``, where tied weights have one, the embedding's.

    Returns:
        how many values are frozen by it.

    Raises:
        ConfigError: a pattern that matches no parameter, or nothing is left to train.
    """
    parameters = dict(network.named_parameters())
    frozen = 0
    for pattern in patterns:
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matching:
            raise ConfigError(
                f"optimizer.freeze: '{pattern}' matches no parameter.{nearest(pattern, parameters)}"
            )
        for name in matching:
            frozen += parameters[name].numel() if parameters[name].requires_grad else 0
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise ConfigError("optimizer.freeze leaves no parameter to train.")
    return frozen


def depth(names: Iterable[str]) -> int:
    """How many decoder layers the parameters with these names belong to."""
    found = (_LAYER.search(name) for name in names)
    return max((int(match[1]) + 1 for match in found if match), default=0)


def layer_scale(name: str, layers: int, decay: float) -> float:
    """A parameter's part of the learning rate under layer-wise decay.

    1 for the top layer and what is above it, `decay` times that for each layer further down, and
    once more for the embedding (ELECTRA, arXiv 2003.10555; BEiT, arXiv 2106.08254).
    """
    if kind_of(name, 0) == "embedding":
        return float(decay**layers)
    match = _LAYER.search(name)
    return 1.0 if match is None else float(decay ** (layers - 1 - int(match[1])))
