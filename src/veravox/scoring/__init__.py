"""Detector and protocol in, scores and verdicts out; the one path that every door enters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veravox.scoring.detector import load_detector, score, score_waveform
    from veravox.scoring.output import score_to_file
    from veravox.scoring.prediction import Prediction, predict
    from veravox.scoring.shards import merge
    from veravox.scoring.verdict import QualityWarning, Verdict

_HOMES = {
    "Prediction": "prediction",
    "Verdict": "verdict",
    "QualityWarning": "verdict",
    "predict": "prediction",
    "load_detector": "detector",
    "merge": "shards",
    "score": "detector",
    "score_to_file": "output",
    "score_waveform": "detector",
}

__all__ = [
    "Prediction",
    "QualityWarning",
    "Verdict",
    "load_detector",
    "merge",
    "predict",
    "score",
    "score_to_file",
    "score_waveform",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.scoring.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.scoring' has no attribute {name!r}")
