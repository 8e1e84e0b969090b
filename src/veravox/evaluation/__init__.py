"""Scores to EER, DCFs, intervals, curves, tables and plots. No torch here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veravox.evaluation.bootstrap import Interval, bootstrap_interval
    from veravox.evaluation.calibrating import CalibrationResult, calibrate
    from veravox.evaluation.calibration import (
        FittedCalibration,
        cross_calibrate,
        fit_affine,
        fit_calibration,
        fit_on,
        thresholds_by_rule,
    )
    from veravox.evaluation.comparison import Comparison, McNemar, compare, mcnemar
    from veravox.evaluation.detection_cost import DetectionCost, act_dcf, min_dcf
    from veravox.evaluation.evaluator import compare_scores, evaluate
    from veravox.evaluation.foreign import read_asv_scores, read_foreign_scores, read_key, read_scores
    from veravox.evaluation.fusion import Fusion, cross_fuse, fit_fusion, is_fusion
    from veravox.evaluation.grid import Grid, GridCell
    from veravox.evaluation.groups import pools_from_text, restrict
    from veravox.evaluation.likelihood import calibration_error, cllr, min_cllr
    from veravox.evaluation.measuring import Trials
    from veravox.evaluation.metrics import METRICS, Terms
    from veravox.evaluation.official import official_t_eer
    from veravox.evaluation.paper_tables import Results, Run, accuracy_grid, collect, results_grid
    from veravox.evaluation.rates import (
        Decisions,
        OperatingPoints,
        auc,
        decisions,
        equal_error_rate,
        equal_error_threshold,
        partial_auc,
    )
    from veravox.evaluation.report import write_report
    from veravox.evaluation.results import Evaluation, Figure, Part, Pool
    from veravox.evaluation.segments import range_equal_error_rate, segment_equal_error_rate, with_windows
    from veravox.evaluation.tandem import AsvRates, AsvScores, JointCost, TandemCost, a_dcf, min_tdcf, t_eer

_HOMES = {
    "AsvRates": "tandem",
    "AsvScores": "tandem",
    "CalibrationResult": "calibrating",
    "Comparison": "comparison",
    "Decisions": "rates",
    "DetectionCost": "detection_cost",
    "Evaluation": "results",
    "Figure": "results",
    "FittedCalibration": "calibration",
    "Fusion": "fusion",
    "Grid": "grid",
    "GridCell": "grid",
    "Interval": "bootstrap",
    "JointCost": "tandem",
    "METRICS": "metrics",
    "McNemar": "comparison",
    "OperatingPoints": "rates",
    "Part": "results",
    "Pool": "results",
    "Results": "paper_tables",
    "Run": "paper_tables",
    "TandemCost": "tandem",
    "Terms": "metrics",
    "Trials": "measuring",
    "a_dcf": "tandem",
    "accuracy_grid": "paper_tables",
    "act_dcf": "detection_cost",
    "auc": "rates",
    "bootstrap_interval": "bootstrap",
    "calibrate": "calibrating",
    "calibration_error": "likelihood",
    "cllr": "likelihood",
    "collect": "paper_tables",
    "compare": "comparison",
    "compare_scores": "evaluator",
    "cross_calibrate": "calibration",
    "cross_fuse": "fusion",
    "decisions": "rates",
    "equal_error_rate": "rates",
    "equal_error_threshold": "rates",
    "evaluate": "evaluator",
    "fit_affine": "calibration",
    "fit_calibration": "calibration",
    "fit_fusion": "fusion",
    "fit_on": "calibration",
    "is_fusion": "fusion",
    "mcnemar": "comparison",
    "min_cllr": "likelihood",
    "min_dcf": "detection_cost",
    "min_tdcf": "tandem",
    "official_t_eer": "official",
    "partial_auc": "rates",
    "pools_from_text": "groups",
    "range_equal_error_rate": "segments",
    "read_asv_scores": "foreign",
    "read_foreign_scores": "foreign",
    "read_key": "foreign",
    "read_scores": "foreign",
    "restrict": "groups",
    "results_grid": "paper_tables",
    "segment_equal_error_rate": "segments",
    "t_eer": "tandem",
    "thresholds_by_rule": "calibration",
    "with_windows": "segments",
    "write_report": "report",
}

__all__ = [
    "METRICS",
    "AsvRates",
    "AsvScores",
    "CalibrationResult",
    "Comparison",
    "Decisions",
    "DetectionCost",
    "Evaluation",
    "Figure",
    "FittedCalibration",
    "Fusion",
    "Grid",
    "GridCell",
    "Interval",
    "JointCost",
    "McNemar",
    "OperatingPoints",
    "Part",
    "Pool",
    "Results",
    "Run",
    "TandemCost",
    "Terms",
    "Trials",
    "a_dcf",
    "accuracy_grid",
    "act_dcf",
    "auc",
    "bootstrap_interval",
    "calibrate",
    "calibration_error",
    "cllr",
    "collect",
    "compare",
    "compare_scores",
    "cross_calibrate",
    "cross_fuse",
    "decisions",
    "equal_error_rate",
    "equal_error_threshold",
    "evaluate",
    "fit_affine",
    "fit_calibration",
    "fit_fusion",
    "fit_on",
    "is_fusion",
    "mcnemar",
    "min_cllr",
    "min_dcf",
    "min_tdcf",
    "official_t_eer",
    "partial_auc",
    "pools_from_text",
    "range_equal_error_rate",
    "read_asv_scores",
    "read_foreign_scores",
    "read_key",
    "read_scores",
    "restrict",
    "results_grid",
    "segment_equal_error_rate",
    "t_eer",
    "thresholds_by_rule",
    "with_windows",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.evaluation.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.evaluation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
