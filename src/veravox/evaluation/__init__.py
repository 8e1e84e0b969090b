"""Scores to EER, DCFs, intervals, curves, tables and plots. No torch here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veravox.evaluation.bootstrap import Interval, bootstrap_interval
    from veravox.evaluation.calibration import fit_affine, fit_calibration
    from veravox.evaluation.comparison import Comparison, McNemar, compare, mcnemar
    from veravox.evaluation.detection_cost import DetectionCost, act_dcf, min_dcf
    from veravox.evaluation.foreign import read_asv_scores, read_foreign_scores, read_key, read_scores
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
    from veravox.evaluation.tandem import AsvRates, AsvScores, JointCost, TandemCost, a_dcf, min_tdcf, t_eer

_HOMES = {
    "AsvRates": "tandem",
    "AsvScores": "tandem",
    "Comparison": "comparison",
    "Decisions": "rates",
    "DetectionCost": "detection_cost",
    "Evaluation": "results",
    "Interval": "bootstrap",
    "JointCost": "tandem",
    "McNemar": "comparison",
    "OperatingPoints": "rates",
    "TandemCost": "tandem",
    "a_dcf": "tandem",
    "act_dcf": "detection_cost",
    "auc": "rates",
    "bootstrap_interval": "bootstrap",
    "calibration_error": "likelihood",
    "cllr": "likelihood",
    "compare": "comparison",
    "decisions": "rates",
    "equal_error_rate": "rates",
    "equal_error_threshold": "rates",
    "evaluate": "results",
    "fit_affine": "calibration",
    "fit_calibration": "calibration",
    "mcnemar": "comparison",
    "min_cllr": "likelihood",
    "min_dcf": "detection_cost",
    "min_tdcf": "tandem",
    "partial_auc": "rates",
    "read_asv_scores": "foreign",
    "read_foreign_scores": "foreign",
    "read_key": "foreign",
    "read_scores": "foreign",
    "t_eer": "tandem",
}

__all__ = [
    "AsvRates",
    "AsvScores",
    "Comparison",
    "Decisions",
    "DetectionCost",
    "Evaluation",
    "Interval",
    "JointCost",
    "McNemar",
    "OperatingPoints",
    "TandemCost",
    "a_dcf",
    "act_dcf",
    "auc",
    "bootstrap_interval",
    "calibration_error",
    "cllr",
    "compare",
    "decisions",
    "equal_error_rate",
    "equal_error_threshold",
    "evaluate",
    "fit_affine",
    "fit_calibration",
    "mcnemar",
    "min_cllr",
    "min_dcf",
    "min_tdcf",
    "partial_auc",
    "read_asv_scores",
    "read_foreign_scores",
    "read_key",
    "read_scores",
    "t_eer",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.evaluation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.evaluation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
