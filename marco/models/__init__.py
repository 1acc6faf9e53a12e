"""Qwen2-family models: settings, building, initialisation, vocabulary limits, kernels.

Importing this package imports no torch: the settings are checked before anything heavy starts.
"""

from __future__ import annotations

from marco.models.settings import Initialiser, PretrainedModel, QwenModel

__all__ = ["Initialiser", "PretrainedModel", "QwenModel"]
