"""Training: recipes, losses, the loop."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Recipe": "recipe",
    "Stage": "recipe",
    "Training": "recipe",
    "change": "recipe",
    "read_recipe": "recipe",
    "Ranks": "ranks",
    "Promise": "cross_fit",
    "fit": "loop",
    "fit_crossed": "cross_fit",
    "SeedRun": "seeds",
    "SeedRuns": "seeds",
    "fit_seeds": "seeds",
    "SharpnessAware": "sharpness_aware",
    "mixture_loss": "losses",
    "sharpness_aware_step": "sharpness_aware",
    "smoothed_cross_entropy": "losses",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.training.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.training' has no attribute {name!r}")
