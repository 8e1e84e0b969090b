"""Detector and protocol in, scores and verdicts out; the one path that every door enters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veravox.scoring.api import load_detector, score, score_waveform
    from veravox.scoring.engine import Judged, judge
    from veravox.scoring.output import score_to_file
    from veravox.scoring.shards import merge
    from veravox.scoring.verdict import Caution, Verdict

_HOMES = {
    "Judged": "engine",
    "Verdict": "verdict",
    "Caution": "verdict",
    "judge": "engine",
    "load_detector": "api",
    "merge": "shards",
    "score": "api",
    "score_to_file": "output",
    "score_waveform": "api",
}

__all__ = [
    "Caution",
    "Judged",
    "Verdict",
    "judge",
    "load_detector",
    "merge",
    "score",
    "score_to_file",
    "score_waveform",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.scoring.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.scoring' has no attribute {name!r}")
