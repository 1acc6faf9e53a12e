"""A recipe: a model's whole path, step after step, each a command that could be run by itself."""

from __future__ import annotations

from marco.training.recipe.settings import Recipe, Step

__all__ = ["Recipe", "Step"]
