"""The figures an evaluation knows by name: each read off operating points, under stated settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from veravox.errors import EvaluationError, suggest
from veravox.evaluation.metrics.detection_cost import DetectionCost
from veravox.evaluation.metrics.likelihood import cllr_of_points, min_cllr_of_points, reliability_of_points
from veravox.evaluation.metrics.official_t_eer import official_t_eer_of_points
from veravox.evaluation.metrics.rates import EerForm, OperatingPoints
from veravox.evaluation.metrics.tandem import AsvPoint, AsvRates, AsvScores, TandemCost, t_eer_of_points
from veravox.tables import Calibration

Need = Literal["llr", "asv", "stored"]


@dataclass(frozen=True)
class MetricSettings:
    """What the figures assume.

    Args:
        cost: of the DCF.
        tandem: costs of the t-DCF.
        asv: scores of a speaker verification system, for the tandem figures.
        eer_form: `nearest` or `interpolated`.
        max_false_alarm_rate: width of the partial AUC.
        calibration: whose thresholds give the share of uncertain verdicts.
        llr: whether the scores are log-likelihood ratios.
        asv_point: where the t-DCF holds the ASV: its EER, `counted`, or `official` as in ASVspoof's packages.
    """

    cost: DetectionCost = field(default_factory=DetectionCost)
    tandem: TandemCost = field(default_factory=TandemCost)
    asv: AsvScores | None = None
    eer_form: EerForm = "nearest"
    max_false_alarm_rate: float = 0.01
    calibration: Calibration | None = None
    llr: bool = False
    asv_point: AsvPoint = "counted"

    def missing_reason(self, need: Need | None) -> str:
        """Why a figure with this need cannot be had; empty if it can."""
        if need == "llr" and not self.llr:
            return (
                "needs log-likelihood ratios: fit a calibration on other trials (veravox calibrate) and apply it"
            )
        if need == "asv" and self.asv is None:
            return "needs the scores of a speaker verification system (asv scores)"
        return "needs a calibration with thresholds" if need == "stored" and self.calibration is None else ""


@dataclass(frozen=True)
class Metric:
    """A named figure.

    Args:
        name: as in code, JSON and `--metric`.
        title: as in tables.
        compute: from operating points and settings.
        percent: whether it is printed as a percentage.
        lower_is_better: which way is up.
        need: what it cannot do without.
        each_group: whether it is given for every group too, or for the whole alone.
    """

    name: str
    title: str
    compute: Callable[[OperatingPoints, MetricSettings], float]
    percent: bool = True
    lower_is_better: bool = True
    need: Need | None = None
    each_group: bool = False


def _uncertain(points: OperatingPoints, settings: MetricSettings) -> float:
    assert settings.calibration is not None
    low, high = (points.decisions(t) for t in (settings.calibration.lower, settings.calibration.upper))
    between = high.misses - low.misses + low.false_alarms - high.false_alarms
    return between / (points.bona_fide + points.spoof)


def _asv(settings: MetricSettings) -> AsvScores:
    assert settings.asv is not None
    return settings.asv


def _rates(settings: MetricSettings) -> AsvRates:
    return _asv(settings).rates_at(settings.asv_point)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("eer", "EER", lambda p, t: p.equal_error_rate(t.eer_form), each_group=True),
        Metric("auc", "AUC", lambda p, t: p.auc(), lower_is_better=False, each_group=True),
        Metric(
            "partial_auc", "partial AUC", lambda p, t: p.partial_auc(t.max_false_alarm_rate), lower_is_better=False
        ),
        Metric("min_dcf", "min DCF", lambda p, t: t.cost.minimum(p), percent=False, each_group=True),
        Metric("act_dcf", "act DCF", lambda p, t: t.cost.actual(p), percent=False, need="llr", each_group=True),
        Metric("cllr", "Cllr", lambda p, t: cllr_of_points(p), percent=False, need="llr", each_group=True),
        Metric("min_cllr", "min Cllr", lambda p, t: min_cllr_of_points(p), percent=False),
        Metric("calibration_error", "calibration error", lambda p, t: reliability_of_points(p).error, need="llr"),
        Metric(
            "min_tdcf_legacy",
            "min t-DCF (2019)",
            lambda p, t: t.tandem.minimum(p, _rates(t), "legacy"),
            percent=False,
            need="asv",
        ),
        Metric(
            "min_tdcf",
            "min t-DCF (2021)",
            lambda p, t: t.tandem.minimum(p, _rates(t), "constrained"),
            percent=False,
            need="asv",
        ),
        Metric("t_eer", "t-EER", lambda p, t: t_eer_of_points(p, _asv(t)), need="asv"),
        Metric(
            "official_t_eer",
            "t-EER (ASVspoof 5 package)",
            lambda p, t: official_t_eer_of_points(p, _asv(t)),
            need="asv",
        ),
        Metric("uncertain", "uncertain verdicts", _uncertain, need="stored"),
    )
}

DECISION_METRICS: dict[str, tuple[str, bool]] = {
    "balanced_accuracy": ("balanced accuracy", False),
    "tpr": ("TPR (spoof found)", False),
    "tnr": ("TNR (bona fide passed)", False),
    "f1": ("F1 (spoof)", False),
}
"""Figures of the decisions at a threshold: name to (title, lower is better); all printed as percentages."""


def select_metrics(names: Sequence[str] | None, settings: MetricSettings) -> tuple[list[Metric], dict[str, str]]:
    """The metrics to compute, and why the others cannot be.

    Raises:
        EvaluationError: for an unknown name, or one that was asked for and cannot be computed.
    """
    if names is None:
        reasons = {name: settings.missing_reason(metric.need) for name, metric in METRICS.items()}
        return [m for m in METRICS.values() if not reasons[m.name]], {n: r for n, r in reasons.items() if r}
    for name in names:
        if name not in METRICS and name not in DECISION_METRICS:
            raise EvaluationError(f"unknown metric {name!r}; {suggest(name, [*METRICS, *DECISION_METRICS])}")
        if name in METRICS and settings.missing_reason(METRICS[name].need):
            raise EvaluationError(f"the metric {name!r} {settings.missing_reason(METRICS[name].need)}")
    return [METRICS[name] for name in dict.fromkeys(names) if name in METRICS], {}


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def threshold_at(rule: str | float, points: OperatingPoints, settings: MetricSettings) -> tuple[str, float]:
    """A rule such as `eer`, `miss=0.01` or a number, in words and as the threshold it gives on these points.

    Rules: `eer`; `stored` (the calibration's lower threshold); `bayes` (for log-likelihood ratios and the cost);
    `min-dcf`; `miss=X` (the highest threshold that loses at most that share of bona fide); `false-alarm=X` (the
    lowest that passes at most that share of spoof); `threshold=X` or a number.

    Raises:
        EvaluationError: for an unknown rule, or one that lacks a calibration.
    """
    name, _, text = str(rule).partition("=")
    number = _number(text or name)
    if number is not None and (name == "threshold" or not text):
        return f"a threshold of {number:g}", number
    if number is not None and name in ("miss", "false-alarm") and 0 <= number <= 1:
        if name == "miss":
            return f"at most {number:.4g} of bona fide missed", points.highest_with_misses(number)
        return f"at most {number:.4g} of spoof passed", points.lowest_with_false_alarms(number)
    if name == "eer" and not text:
        return "the EER point of these trials", points.threshold(points.eer_point())
    if name == "min-dcf" and not text:
        return "the cheapest threshold of these trials", settings.cost.minimum_threshold(points)
    if name == "stored" and not text and settings.calibration is not None:
        return "the calibration's stored threshold", settings.calibration.lower
    if name == "bayes" and not text and settings.llr:
        return "the Bayes threshold of the cost", settings.cost.threshold
    if name in ("stored", "bayes") and not text:
        raise EvaluationError(
            f"the operating point {name!r} {settings.missing_reason('stored' if name == 'stored' else 'llr')}"
        )
    known = "eer, stored, bayes, min-dcf, miss=0.01, false-alarm=0.01 or a number"
    raise EvaluationError(f"unknown operating point {rule!r}; use {known}")
