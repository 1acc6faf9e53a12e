"""How often each Triton kernel was launched: what a test, or a doubtful user, asks afterwards."""

from __future__ import annotations

from collections import Counter

#: Launches by kernel name since the process began.
LAUNCHES: Counter[str] = Counter()
