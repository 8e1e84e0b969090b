"""Scores to EER, DCFs, intervals, curves, tables and plots. No torch here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veravox.evaluation.calibration import fit_affine, fit_calibration
    from veravox.evaluation.likelihood import calibration_error, cllr, min_cllr
    from veravox.evaluation.rates import (
        Decisions,
        OperatingPoints,
        auc,
        decisions,
        equal_error_rate,
        equal_error_threshold,
        partial_auc,
    )
    from veravox.evaluation.results import Evaluation, evaluate

_HOMES = {
    "Decisions": "rates",
    "Evaluation": "results",
    "OperatingPoints": "rates",
    "auc": "rates",
    "calibration_error": "likelihood",
    "cllr": "likelihood",
    "decisions": "rates",
    "equal_error_rate": "rates",
    "equal_error_threshold": "rates",
    "evaluate": "results",
    "fit_affine": "calibration",
    "fit_calibration": "calibration",
    "min_cllr": "likelihood",
    "partial_auc": "rates",
}

__all__ = [
    "Decisions",
    "Evaluation",
    "OperatingPoints",
    "auc",
    "calibration_error",
    "cllr",
    "decisions",
    "equal_error_rate",
    "equal_error_threshold",
    "evaluate",
    "fit_affine",
    "fit_calibration",
    "min_cllr",
    "partial_auc",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.evaluation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.evaluation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
