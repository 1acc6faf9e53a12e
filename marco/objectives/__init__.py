"""Training objectives: what is minimised, computed on the model's hidden states."""

from __future__ import annotations
