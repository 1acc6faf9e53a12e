"""Which implementation of the hot operations a model uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Kernels:
    """The kernel backend, recorded with the run and reused when it is resumed.

    Attributes:
        backend: `reference` is transformers as it comes, untouched.
    """

    backend: Literal["reference"] = "reference"
