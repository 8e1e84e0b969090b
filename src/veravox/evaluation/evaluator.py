"""`evaluate`: the one function behind the command, the reports and the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from veravox.errors import EvaluationError
from veravox.evaluation.auxiliary import joint_estimates, segment_estimates
from veravox.evaluation.calibration import FittedCalibration, are_ratios, cross_calibrate
from veravox.evaluation.comparison import Comparison, compare
from veravox.evaluation.estimates import GroupEstimates, MetricPlan, Resampling, Trials, macro_estimates, measure
from veravox.evaluation.groups import Group, PoolMembers, group_by, pools_of
from veravox.evaluation.metrics.bootstrap import FEW_CLUSTERS
from veravox.evaluation.metrics.catalogue import (
    DECISION_METRICS,
    METRICS,
    MetricSettings,
    select_metrics,
    threshold_at,
)
from veravox.evaluation.metrics.detection_cost import DetectionCost
from veravox.evaluation.metrics.rates import EerForm, OperatingPoints
from veravox.evaluation.metrics.tandem import AsvPoint, AsvScores, TandemCost
from veravox.evaluation.results import Estimate, Evaluation, Pool
from veravox.tables import Calibration, Protocol, Scores, Segments

AnyCalibration = Calibration | FittedCalibration | None


@dataclass(frozen=True)
class _JudgedTrials:
    """Joined trials with the scores that are evaluated, their clusters, and how they were calibrated."""

    joined: Trials
    clusters: list[str] | None
    calibration: Calibration | None
    llr: bool


def evaluate(
    scores: Scores | ArrayLike,
    protocol: Protocol | Sequence[str] | ArrayLike,
    by: Sequence[str | Sequence[str]] = (),
    pools: Mapping[str, Sequence[str]] | None = None,
    pool_column: str = "domain",
    against: str = "all",
    metrics: Sequence[str] | None = None,
    at: Sequence[str | float] = (),
    bootstrap: int = 0,
    cluster: str | None = None,
    confidence: float = 0.95,
    seed: int = 0,
    calibration: AnyCalibration = None,
    cross_validate: int = 0,
    llr: bool | None = None,
    cost: DetectionCost | None = None,
    tandem: TandemCost | None = None,
    asv: AsvScores | None = None,
    joint: AsvScores | None = None,
    segments: Segments | None = None,
    resolution_s: float = 0.16,
    eer_form: EerForm = "nearest",
    max_false_alarm_rate: float = 0.01,
    progress: Callable[[int], None] | None = None,
    asv_point: AsvPoint = "counted",
) -> Evaluation:
    """Every figure of a set of scores, with intervals, groups and pools.

    Args:
        scores: `Scores`, or an array of shape (trials,); higher is more bona fide.
        protocol: the labelled `Protocol`, or an array of labels as text or booleans (True for bona fide).
        by: columns to group by; a tuple, or names joined by `,`, crosses several.
        pools: name to the datasets in it (values of `pool_column`); `["*"]` is all of them.
        pool_column: the column that tells the dataset.
        against: which trials of the other class stand against a group of one class: `all`, or a column whose
            values they must share with it.
        metrics: names to compute, for groups too; all that can be if None, of which groups get the main ones.
        at: operating points for balanced accuracy, TPR, TNR and F1 (see `threshold_at`); the stored one if there
            is a calibration, else `eer`.
        bootstrap: rounds for the intervals; none if 0.
        cluster: column whose values are resampled as wholes, such as `speaker_id`; trials if None.
        confidence: of the intervals.
        seed: of the resampling and of the folds.
        calibration: fitted on other trials; applied first.
        cross_validate: folds of an affine calibration fitted on these trials, each trial calibrated by a fit that
            has not seen it (nor its cluster); only figures of log-likelihood ratios use it, all others the scores.
        llr: whether the scores are log-likelihood ratios; if None, they are once calibrated.
        cost: of the DCF.
        tandem: of the t-DCF.
        asv: scores of the speaker verification in the tandem.
        joint: scores of a whole system that verifies speakers and rejects spoof, for the a-DCF.
        segments: what is spoof inside each utterance; judged by the windows of the scores.
        resolution_s: of the segment-level EER.
        eer_form: `nearest` or `interpolated`.
        max_false_alarm_rate: width of the partial AUC.
        progress: called with 1 after every round.
        asv_point: where the t-DCF holds the ASV: at its EER, `counted` by its threshold, or `official` as the
            packages of ASVspoof count it, one score lower.
    Raises:
        ScoringError: if a trial has no score, or a score has no trial.
        ProtocolError: if a trial has no label.
        EvaluationError: if a class, column, value or metric is missing or unknown, or the calibration was fitted
            on these trials.
    """
    trials = _judged_trials(scores, protocol, cluster, calibration, cross_validate, llr, seed)
    resampling = Resampling(bootstrap, confidence, seed)
    settings = MetricSettings(
        cost or DetectionCost(),
        tandem or TandemCost(),
        asv,
        eer_form,
        max_false_alarm_rate,
        trials.calibration,
        trials.llr,
        asv_point,
    )
    if asv is not None:
        asv.rates_at(asv_point)  # an unknown point is an error before anything is computed
    if cross_validate and "bayes" in at:
        raise EvaluationError(
            "the operating point 'bayes' needs one calibration; a cross-validated one differs by fold"
        )
    operating_points = _operating_points(
        at or (["stored"] if trials.calibration else ["eer"]), trials.joined.points, settings
    )
    plan, not_computed = _plan(metrics, operating_points, settings)
    whole, groups, pool_members = _groups(trials.joined, by, against, pools, pool_column)
    every_group = [whole, *(group for column in groups.values() for group in column)]
    every_group += [group for pool in pool_members for group in (*pool.datasets, pool.together)]
    measured = measure(every_group, trials.joined, plan, resampling, trials.clusters, progress)
    pool_results = tuple(_pool(members, measured, confidence) for members in pool_members)
    return Evaluation(
        name=trials.joined.name,
        whole=measured[whole].result,
        groups={column: tuple(measured[group].result for group in listed) for column, listed in groups.items()},
        auxiliary=_auxiliary(scores, trials, joint, segments, resolution_s, eer_form, resampling),
        pools=pool_results,
        operating_points=operating_points,
        not_computed=not_computed,
        warnings=tuple(_warnings(trials, cluster, pool_results, bootstrap)),
        settings=_settings_in_words(settings, trials, against, cross_validate, resampling, cluster),
        points=trials.joined.points,
        ratio_points=_ratio_points(trials),
    )


def _plan(
    metrics: Sequence[str] | None, operating_points: Mapping[str, tuple[str, float]], settings: MetricSettings
) -> tuple[MetricPlan, dict[str, str]]:
    """What to compute for every group, and why the rest is not computed."""
    selected, not_computed = select_metrics(metrics, settings)
    decisions = [name for name in DECISION_METRICS if metrics is None or name in metrics]
    thresholds = {name: threshold for name, (_, threshold) in operating_points.items()}
    return MetricPlan(selected, decisions, thresholds, settings, all_groups=metrics is not None), not_computed


def _groups(
    trials: Trials,
    by: Sequence[str | Sequence[str]],
    against: str,
    pools: Mapping[str, Sequence[str]] | None,
    pool_column: str,
) -> tuple[Group, dict[str, list[Group]], list[PoolMembers]]:
    """All trials as one group, the groups of each column, and the pools."""
    whole = Group("", trials.name, np.arange(len(trials.scores)))
    listed = [group_by(trials.frame, columns, against) for columns in by]
    pool_members = pools_of(trials.frame, pools, pool_column) if pools else []
    return whole, {groups[0].column: groups for groups in listed if groups}, pool_members


def _pool(members: PoolMembers, measured: Mapping[Group, GroupEstimates], confidence: float) -> Pool:
    return Pool(
        members.name,
        tuple(measured[dataset].result for dataset in members.datasets),
        macro_estimates([measured[dataset] for dataset in members.datasets], confidence),
        measured[members.together].result,
    )


def _auxiliary(
    scores: Scores | ArrayLike,
    trials: _JudgedTrials,
    joint: AsvScores | None,
    segments: Segments | None,
    resolution_s: float,
    form: EerForm,
    resampling: Resampling,
) -> dict[str, Estimate]:
    estimates = joint_estimates(joint, resampling) if joint is not None else {}
    if segments is not None:
        windows = scores.windows if isinstance(scores, Scores) else None
        if windows is None:
            raise EvaluationError(
                "segments are judged by the scores of windows, which are not there: score --windows"
            )
        clusters = None
        if trials.clusters is not None:
            names = trials.joined.frame["utterance_id"].cast(pl.String)
            clusters = dict(zip(names, trials.clusters, strict=True))
        estimates |= segment_estimates(windows, segments, resampling, clusters, resolution_s, form)
    return estimates


def _judged_trials(
    scores: Scores | ArrayLike,
    protocol: Protocol | Sequence[str] | ArrayLike,
    cluster: str | None,
    calibration: AnyCalibration,
    cross_validate: int,
    llr: bool | None,
    seed: int,
) -> _JudgedTrials:
    trials = Trials.join(scores, protocol)
    clusters = trials.column(cluster) if cluster else None
    if calibration is not None and cross_validate:
        raise EvaluationError("give a calibration or cross-validate one, not both")
    if isinstance(calibration, FittedCalibration):
        if "utterance_id" in trials.frame.columns:
            calibration.check_disjoint(trials.frame["utterance_id"])
        calibration = calibration.calibration
    if calibration is not None:
        trials = trials.with_scores(calibration.scale * trials.scores + calibration.offset)
    elif cross_validate:
        ratios = cross_calibrate(trials.scores, trials.is_bona_fide, cross_validate, clusters=clusters, seed=seed)
        trials = replace(trials, ratios=ratios)
    if llr is None:
        llr = calibration is not None or bool(cross_validate) or are_ratios(trials.frame)
    return _JudgedTrials(trials, clusters, calibration, llr)


def _operating_points(
    at: Sequence[str | float], points: OperatingPoints, settings: MetricSettings
) -> dict[str, tuple[str, float]]:
    rules = list(dict.fromkeys(at))
    return {str(rule) if index else "": threshold_at(rule, points, settings) for index, rule in enumerate(rules)}


def _ratio_points(trials: _JudgedTrials) -> OperatingPoints | None:
    if trials.joined.ratios is not None:
        return replace(trials.joined, scores=trials.joined.ratios).points
    return trials.joined.points if trials.llr else None


def _settings_in_words(
    settings: MetricSettings,
    trials: _JudgedTrials,
    against: str,
    folds: int,
    resampling: Resampling,
    cluster: str | None,
) -> dict[str, Any]:
    """What the metrics assume, as plain data."""
    tandem: dict[str, Any] = {}
    if settings.asv:
        tandem = {
            "tandem": vars(settings.tandem),
            "asv_eer": settings.asv.eer,
            "asv_point": settings.asv_point,
        }
    return {
        "eer_form": settings.eer_form,
        "max_false_alarm_rate": settings.max_false_alarm_rate,
        "cost": vars(settings.cost),
        "against": against,
        "calibration": _calibration_in_words(trials, folds),
        **tandem,
        "bootstrap": {
            "rounds": resampling.rounds,
            "unit": cluster or "trials",
            "confidence": resampling.confidence,
            "seed": resampling.seed,
        },
    }


def _calibration_in_words(trials: _JudgedTrials, folds: int) -> str:
    if trials.calibration is not None:
        return f"applied, fitted on {trials.calibration.fitted_on or 'trials that are not named'}"
    if folds:
        return f"cross-validated on these trials, {folds} folds"
    return "scores are log-likelihood ratios as they came" if trials.llr else "none: raw scores"


def _warnings(trials: _JudgedTrials, cluster: str | None, pools: Sequence[Pool], rounds: int) -> list[str]:
    rates = [("the EER", trials.joined.points.equal_error_rate())]
    for dataset in {dataset.name: dataset for pool in pools for dataset in pool.datasets}.values():
        if "eer" in dataset.estimates:
            rates.append((f"the EER of {dataset.name}", dataset.estimates["eer"].value))
    warnings = [
        f"{what} is {rate:.2%}, worse than chance: the polarity looks reversed; check the sign of the scores "
        "(nothing was turned over)"
        for what, rate in rates
        if rate > 0.5
    ]
    clusters = len(set(trials.clusters or ()))
    if rounds and trials.clusters is not None and clusters < FEW_CLUSTERS:
        warnings.append(f"only {clusters} values of {cluster}: intervals from so few clusters are too narrow")
    return warnings


def compare_scores(
    first: Scores,
    second: Scores,
    protocol: Protocol,
    metric: str = "eer",
    names: tuple[str, str] | None = None,
    cluster: str | None = None,
    rounds: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    calibrations: tuple[AnyCalibration, AnyCalibration] = (None, None),
    settings: MetricSettings | None = None,
    llr: bool | None = None,
) -> Comparison:
    """Paired comparison of two systems on the same trials, by any metric of `METRICS`.

    `settings` hold what the metric assumes (cost, form of the EER, ASV scores); `llr` says whether both systems'
    scores are log-likelihood ratios, which None tells from their files and calibrations.

    Raises:
        ScoringError: if either file lacks a trial of the protocol, or has one too many.
        EvaluationError: for an unknown metric, or one that needs what these scores are not.
    """
    both = [
        _judged_trials(scores, protocol, cluster, calibration, 0, llr, seed)
        for scores, calibration in zip((first, second), calibrations, strict=True)
    ]
    settings = replace(settings or MetricSettings(), llr=all(trials.llr for trials in both))
    select_metrics([metric], settings)
    if metric not in METRICS:
        raise EvaluationError(f"{metric!r} depends on a threshold; compare by one of: {', '.join(METRICS)}")
    compared = METRICS[metric]
    return compare(
        both[0].joined.scores,
        both[1].joined.scores,
        both[0].joined.is_bona_fide,
        names or (first.name, second.name),
        lambda points: compared.compute(points, settings),
        compared.title,
        compared.lower_is_better,
        rounds=rounds,
        clusters=both[0].clusters,
        unit=cluster or "trials",
        confidence=confidence,
        seed=seed,
        percent=compared.percent,
    )
