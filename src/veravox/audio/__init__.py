"""Any recording as mono float32 blocks at one rate; what it measures like; windows of it. Knows no labels."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veravox.audio.decode import AudioInfo, AudioStream, open_audio, read_audio, resample, to_mono
    from veravox.audio.find import AUDIO_SUFFIXES, find_audio
    from veravox.audio.level import active_level, dbfs, to_active_level
    from veravox.audio.quality import Quality, QualityMeter
    from veravox.audio.windows import WindowPolicy, tile, window_policy

_HOMES = {
    "AUDIO_SUFFIXES": "find",
    "AudioInfo": "decode",
    "AudioStream": "decode",
    "Quality": "quality",
    "QualityMeter": "quality",
    "WindowPolicy": "windows",
    "active_level": "level",
    "dbfs": "level",
    "find_audio": "find",
    "open_audio": "decode",
    "read_audio": "decode",
    "resample": "decode",
    "tile": "windows",
    "to_active_level": "level",
    "to_mono": "decode",
    "window_policy": "windows",
}

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioInfo",
    "AudioStream",
    "Quality",
    "QualityMeter",
    "WindowPolicy",
    "active_level",
    "dbfs",
    "find_audio",
    "open_audio",
    "read_audio",
    "resample",
    "tile",
    "to_active_level",
    "to_mono",
    "window_policy",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.audio.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.audio' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
