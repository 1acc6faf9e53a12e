"""How much more than torch's own error a kernel's may be, as a share of the largest true value."""

from __future__ import annotations

import torch

#: Our error ≤ FACTOR × torch's own error in that type + TOLERANCES[type] × max |truth|.
FACTOR = 1.1
TOLERANCES = {torch.float32: 1e-6, torch.bfloat16: 1e-3, torch.float16: 1e-4}
