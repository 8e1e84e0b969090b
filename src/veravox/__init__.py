"""veravox: is this voice human or made by a machine?

Everything public is listed in `__all__` and loads on first use, so that `import veravox` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veravox.evaluation import evaluate
    from veravox.scoring import load_detector, score, score_waveform
    from veravox.tables import Calibration, Protocol, Scores, Segments, protocol_from_paths, read_protocol

__version__ = "0.1.0"

_HOMES = {
    "Calibration": "tables",
    "Protocol": "tables",
    "Scores": "tables",
    "Segments": "tables",
    "evaluate": "evaluation",
    "load_detector": "scoring",
    "protocol_from_paths": "tables",
    "read_protocol": "tables",
    "score": "scoring",
    "score_waveform": "scoring",
}
_ROOMS = (
    "analysis",
    "audio",
    "augment",
    "corpora",
    "errors",
    "evaluation",
    "models",
    "recipes",
    "scoring",
    "training",
)

__all__ = [
    "Calibration",
    "Protocol",
    "Scores",
    "Segments",
    "evaluate",
    "load_detector",
    "protocol_from_paths",
    "read_protocol",
    "score",
    "score_waveform",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.{_HOMES[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"veravox.{name}")
    raise AttributeError(f"module 'veravox' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "__version__"])
