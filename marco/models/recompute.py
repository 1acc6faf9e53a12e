"""Gradient checkpointing: which decoder layers compute their activations again in the backward."""

from __future__ import annotations

import warnings
from typing import Literal

from transformers import PreTrainedModel

from marco.models.fused import layers_of

#: All layers, none, or every other one.
Recompute = bool | Literal["selective"]


def recompute(network: PreTrainedModel, which: Recompute) -> None:
    """Let layers keep their input only: all of them, or, selectively, the first, third, fifth…"""
    if not which:
        return
    with warnings.catch_warnings():  # transformers 5.24 gives it another name
        warnings.simplefilter("ignore", FutureWarning)
        network.gradient_checkpointing_enable({"use_reentrant": False})
    if which == "selective":
        for layer in layers_of(network)[1::2]:
            layer.gradient_checkpointing = False
