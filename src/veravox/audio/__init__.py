"""Any recording as mono float32 blocks at one rate; what it measures like; windows of it. Knows no labels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veravox.audio.decode import AudioInfo, AudioStream, open_audio, read_audio, resample, to_mono
    from veravox.audio.windows import WindowPolicy, tile, window_policy

_HOMES = {
    "AudioInfo": "decode",
    "AudioStream": "decode",
    "WindowPolicy": "windows",
    "open_audio": "decode",
    "read_audio": "decode",
    "resample": "decode",
    "tile": "windows",
    "to_mono": "decode",
    "window_policy": "windows",
}

__all__ = [
    "AudioInfo",
    "AudioStream",
    "WindowPolicy",
    "open_audio",
    "read_audio",
    "resample",
    "tile",
    "to_mono",
    "window_policy",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.audio.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.audio' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
