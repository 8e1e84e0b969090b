"""Scores to EER, DCFs, intervals, curves, tables and plots. No torch here."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from veravox.evaluation.asv_scores import read_asv_scores
    from veravox.evaluation.calibration import (
        FittedCalibration,
        cross_calibrate,
        fit_affine,
        fit_calibration,
        fit_on,
        thresholds_by_rule,
    )
    from veravox.evaluation.calibration_report import CalibrationResult, calibrate
    from veravox.evaluation.comparison import Comparison, McNemar, compare, mcnemar
    from veravox.evaluation.estimates import Trials
    from veravox.evaluation.evaluator import compare_scores, evaluate
    from veravox.evaluation.fusion import Fusion, cross_fuse, fit_fusion, is_fusion
    from veravox.evaluation.groups import pools_from_text, restrict
    from veravox.evaluation.metrics.bootstrap import Interval, bootstrap_interval
    from veravox.evaluation.metrics.catalogue import METRICS, MetricSettings
    from veravox.evaluation.metrics.detection_cost import DetectionCost, act_dcf, min_dcf
    from veravox.evaluation.metrics.likelihood import calibration_error, cllr, min_cllr
    from veravox.evaluation.metrics.official_t_eer import official_t_eer
    from veravox.evaluation.metrics.rates import (
        Decisions,
        OperatingPoints,
        auc,
        decisions,
        equal_error_rate,
        equal_error_threshold,
        partial_auc,
    )
    from veravox.evaluation.metrics.segments import range_equal_error_rate, segment_equal_error_rate, with_windows
    from veravox.evaluation.metrics.tandem import (
        AsvRates,
        AsvScores,
        JointCost,
        TandemCost,
        a_dcf,
        min_tdcf,
        t_eer,
    )
    from veravox.evaluation.results import Estimate, Evaluation, GroupResult, Pool
    from veravox.evaluation.tables.evaluation_page import write_report
    from veravox.evaluation.tables.grid import Grid, GridCell
    from veravox.evaluation.tables.paper_tables import Results, Run, accuracy_grid, collect, results_grid
    from veravox.tables.external_scores import read_external_scores, read_scores
    from veravox.tables.keys import read_key

_HOMES = {
    "AsvRates": "evaluation.metrics.tandem",
    "AsvScores": "evaluation.metrics.tandem",
    "CalibrationResult": "evaluation.calibration_report",
    "Comparison": "evaluation.comparison",
    "Decisions": "evaluation.metrics.rates",
    "DetectionCost": "evaluation.metrics.detection_cost",
    "Estimate": "evaluation.results",
    "Evaluation": "evaluation.results",
    "FittedCalibration": "evaluation.calibration",
    "Fusion": "evaluation.fusion",
    "Grid": "evaluation.tables.grid",
    "GridCell": "evaluation.tables.grid",
    "GroupResult": "evaluation.results",
    "Interval": "evaluation.metrics.bootstrap",
    "JointCost": "evaluation.metrics.tandem",
    "METRICS": "evaluation.metrics.catalogue",
    "McNemar": "evaluation.comparison",
    "MetricSettings": "evaluation.metrics.catalogue",
    "OperatingPoints": "evaluation.metrics.rates",
    "Pool": "evaluation.results",
    "Results": "evaluation.tables.paper_tables",
    "Run": "evaluation.tables.paper_tables",
    "TandemCost": "evaluation.metrics.tandem",
    "Trials": "evaluation.estimates",
    "a_dcf": "evaluation.metrics.tandem",
    "accuracy_grid": "evaluation.tables.paper_tables",
    "act_dcf": "evaluation.metrics.detection_cost",
    "auc": "evaluation.metrics.rates",
    "bootstrap_interval": "evaluation.metrics.bootstrap",
    "calibrate": "evaluation.calibration_report",
    "calibration_error": "evaluation.metrics.likelihood",
    "cllr": "evaluation.metrics.likelihood",
    "collect": "evaluation.tables.paper_tables",
    "compare": "evaluation.comparison",
    "compare_scores": "evaluation.evaluator",
    "cross_calibrate": "evaluation.calibration",
    "cross_fuse": "evaluation.fusion",
    "decisions": "evaluation.metrics.rates",
    "equal_error_rate": "evaluation.metrics.rates",
    "equal_error_threshold": "evaluation.metrics.rates",
    "evaluate": "evaluation.evaluator",
    "fit_affine": "evaluation.calibration",
    "fit_calibration": "evaluation.calibration",
    "fit_fusion": "evaluation.fusion",
    "fit_on": "evaluation.calibration",
    "is_fusion": "evaluation.fusion",
    "mcnemar": "evaluation.comparison",
    "min_cllr": "evaluation.metrics.likelihood",
    "min_dcf": "evaluation.metrics.detection_cost",
    "min_tdcf": "evaluation.metrics.tandem",
    "official_t_eer": "evaluation.metrics.official_t_eer",
    "partial_auc": "evaluation.metrics.rates",
    "pools_from_text": "evaluation.groups",
    "range_equal_error_rate": "evaluation.metrics.segments",
    "read_asv_scores": "evaluation.asv_scores",
    "read_external_scores": "tables.external_scores",
    "read_key": "tables.keys",
    "read_scores": "tables.external_scores",
    "restrict": "evaluation.groups",
    "results_grid": "evaluation.tables.paper_tables",
    "segment_equal_error_rate": "evaluation.metrics.segments",
    "t_eer": "evaluation.metrics.tandem",
    "thresholds_by_rule": "evaluation.calibration",
    "with_windows": "evaluation.metrics.segments",
    "write_report": "evaluation.tables.evaluation_page",
}

__all__ = [
    "METRICS",
    "AsvRates",
    "AsvScores",
    "CalibrationResult",
    "Comparison",
    "Decisions",
    "DetectionCost",
    "Estimate",
    "Evaluation",
    "FittedCalibration",
    "Fusion",
    "Grid",
    "GridCell",
    "GroupResult",
    "Interval",
    "JointCost",
    "McNemar",
    "MetricSettings",
    "OperatingPoints",
    "Pool",
    "Results",
    "Run",
    "TandemCost",
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
    "read_external_scores",
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
        return getattr(importlib.import_module(f"veravox.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.evaluation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
