"""Triton's interpreter cuts fp32 off where a GPU rounds it to the nearest bf16: put right here.

Seen in triton 3.9, where `InterpreterBuilder.cast_impl` converts without a rounding mode. A test
file of kernels that store bf16 imports the fixture; it holds for every test of that file.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle


@pytest.fixture(autouse=True)
def bf16_rounds_to_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    cast = InterpreterBuilder.cast_impl

    def rounding_cast(self: InterpreterBuilder, source: TensorHandle, to: Any) -> TensorHandle:
        if source.dtype.scalar != tl.float32 or to.scalar != tl.bfloat16:
            return cast(self, source, to)
        rounded = torch.from_numpy(source.data.copy()).to(torch.bfloat16).view(torch.uint16)
        return TensorHandle(rounded.numpy(), tl.bfloat16)

    monkeypatch.setattr(InterpreterBuilder, "cast_impl", rounding_cast)
