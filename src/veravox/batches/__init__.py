"""Protocols become batches of windows: training crops and augments, scoring never."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "Draw": "pairing",
    "EpochSampler": "training",
    "Pairing": "pairing",
    "TrainingWindows": "training",
    "WindowChunk": "scoring",
    "read_windows": "scoring",
    "prefetch": "scoring",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.batches.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.batches' has no attribute {name!r}")
