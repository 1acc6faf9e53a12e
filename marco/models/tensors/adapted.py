"""The weights of a run that trained adapters, merged as they are read: some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from marco.models.adapters import NAME, LoRA
from marco.models.tensors.weights import Rows, Stored, Weights

_BASE = ".base_layer."
_A, _B = f".lora_A.{NAME}.weight", f".lora_B.{NAME}.weight"
_LENGTH = f".lora_magnitude_vector.{NAME}.weight"


@dataclass(frozen=True)
class AdaptedWeights(Weights):
    """Weights by the names of the plain model, those under an adapter merged with it.

    Attributes:
        parts: the tensors as they are stored, the adapter's own included, by their stored names.
        adapter: how large a part of the sum it has, and whether it scales rows.
    """

    parts: Weights
    adapter: LoRA

    @contextmanager
    def open(self, name: str) -> Iterator[Rows]:
        """See `Weights.open`; merged rows are in the stored type, worked out in fp32."""
        module, _, own = name.rpartition(".")
        base = f"{module}{_BASE}{own}"
        with self.parts.open(base if base in self.parts.tensors else name) as rows:
            if own != "weight" or base not in self.parts.tensors:
                yield rows
                return
            yield self._merged(module, rows)

    def _merged(self, module: str, rows: Rows) -> Rows:
        a, b = (self._whole(module + part) for part in (_A, _B))
        lengths = self._whole(module + _LENGTH) if self.adapter.dora else None

        def merged(start: int, stop: int) -> torch.Tensor:
            stored = rows(start, stop)
            both = stored.float() + self.adapter.scale * (b[start:stop] @ a)
            if lengths is not None:
                both *= (lengths[start:stop] / both.norm(dim=1))[:, None]
            return both.to(stored.dtype)

        return merged

    def _whole(self, name: str) -> torch.Tensor:
        return torch.cat([piece.float() for piece in self.parts.pieces(name)])


def merged(parts: Weights, adapter: LoRA) -> Weights:
    """Return the weights of the plain model."""
    tensors: dict[str, Stored] = {
        name.replace(_BASE, "."): stored
        for name, stored in parts.tensors.items()
        if not name.endswith((_A, _B, _LENGTH))
    }
    return AdaptedWeights(parts.name, tensors, parts, adapter)
