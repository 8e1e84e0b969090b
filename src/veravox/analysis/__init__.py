"""Analysis: how sharp a detector's minimum is, and what its loss looks like around it."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Measure": "sharpness",
    "SharpnessTable": "sharpness_table",
    "correlate": "sharpness_table",
    "draw_landscapes": "sharpness_models",
    "find_models": "sharpness_models",
    "loss_landscape": "landscape",
    "measure_models": "sharpness_models",
    "measure_sharpness": "sharpness",
    "write_sharpness_report": "sharpness_report",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.analysis.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.analysis' has no attribute {name!r}")
