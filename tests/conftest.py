"""Triton kernels run under its interpreter here: it must be said before Triton is imported."""

from __future__ import annotations

import os

os.environ.setdefault("TRITON_INTERPRET", "1")
