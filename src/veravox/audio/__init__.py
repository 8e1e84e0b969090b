"""Decode any file, resample, windows, level. Knows no labels."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "WindowPolicy": "windows",
    "tile": "windows",
    "window_policy": "windows",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.audio.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.audio' has no attribute {name!r}")
