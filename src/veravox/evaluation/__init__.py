"""Scores to EER, DCFs, intervals, curves, tables and plots. No torch here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.evaluation.asv_scores import phases_of as phases_of, read_asv_scores as read_asv_scores
    from veravox.evaluation.calibration import (
        FittedCalibration as FittedCalibration,
        cross_calibrate as cross_calibrate,
        fit_affine as fit_affine,
        fit_calibration as fit_calibration,
        fit_on as fit_on,
        thresholds_by_rule as thresholds_by_rule,
    )
    from veravox.evaluation.calibration_report import (
        CalibrationResult as CalibrationResult,
        calibrate as calibrate,
    )
    from veravox.evaluation.comparison import (
        Comparison as Comparison,
        McNemar as McNemar,
        compare as compare,
        mcnemar as mcnemar,
    )
    from veravox.evaluation.estimates import Trials as Trials
    from veravox.evaluation.evaluator import (
        compare_scores as compare_scores,
        evaluate as evaluate,
    )
    from veravox.evaluation.fusion import (
        Fusion as Fusion,
        cross_fuse as cross_fuse,
        fit_fusion as fit_fusion,
        is_fusion as is_fusion,
    )
    from veravox.evaluation.groups import (
        pools_from_text as pools_from_text,
        restrict as restrict,
    )
    from veravox.evaluation.metrics.bootstrap import (
        Interval as Interval,
        bootstrap_interval as bootstrap_interval,
    )
    from veravox.evaluation.metrics.catalogue import (
        METRICS as METRICS,
        MetricSettings as MetricSettings,
    )
    from veravox.evaluation.metrics.detection_cost import (
        DetectionCost as DetectionCost,
        act_dcf as act_dcf,
        min_dcf as min_dcf,
    )
    from veravox.evaluation.metrics.likelihood import (
        calibration_error as calibration_error,
        cllr as cllr,
        min_cllr as min_cllr,
    )
    from veravox.evaluation.metrics.official_t_eer import official_t_eer as official_t_eer
    from veravox.evaluation.metrics.rates import (
        Decisions as Decisions,
        OperatingPoints as OperatingPoints,
        auc as auc,
        decisions as decisions,
        equal_error_rate as equal_error_rate,
        equal_error_threshold as equal_error_threshold,
        partial_auc as partial_auc,
    )
    from veravox.evaluation.metrics.segments import (
        range_equal_error_rate as range_equal_error_rate,
        segment_equal_error_rate as segment_equal_error_rate,
        with_windows as with_windows,
    )
    from veravox.evaluation.metrics.tandem import (
        AsvRates as AsvRates,
        AsvScores as AsvScores,
        JointCost as JointCost,
        TandemCost as TandemCost,
        a_dcf as a_dcf,
        min_tdcf as min_tdcf,
        t_eer as t_eer,
    )
    from veravox.evaluation.results import (
        Estimate as Estimate,
        Evaluation as Evaluation,
        GroupResult as GroupResult,
        Pool as Pool,
    )
    from veravox.evaluation.tables.evaluation_page import write_report as write_report
    from veravox.evaluation.tables.grid import (
        Grid as Grid,
        GridCell as GridCell,
    )
    from veravox.evaluation.tables.paper_tables import (
        Results as Results,
        Run as Run,
        accuracy_grid as accuracy_grid,
        collect as collect,
        results_grid as results_grid,
    )
    from veravox.tables.external_scores import (
        read_external_scores as read_external_scores,
        read_scores as read_scores,
    )
    from veravox.tables.keys import read_key as read_key
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
