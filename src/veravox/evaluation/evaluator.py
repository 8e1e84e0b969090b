"""`evaluate`: the one function behind the command, the reports and the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from veravox.errors import EvaluationError
from veravox.evaluation.bootstrap import FEW_CLUSTERS
from veravox.evaluation.calibration import FittedCalibration, are_ratios, cross_calibrate
from veravox.evaluation.comparison import Comparison, compare
from veravox.evaluation.detection_cost import DetectionCost
from veravox.evaluation.groups import Group, group_by, pools_of
from veravox.evaluation.measuring import Plan, Trials, macro_figures, measure
from veravox.evaluation.metrics import DECISION_METRICS, METRICS, Terms, choose, threshold_at
from veravox.evaluation.other_figures import Resampling, joint_figures, segment_figures
from veravox.evaluation.rates import EerForm, OperatingPoints
from veravox.evaluation.results import Evaluation, Figure, Part, Pool
from veravox.evaluation.tandem import AsvPoint, AsvScores, TandemCost
from veravox.tables import Calibration, Protocol, Scores, Segments

AnyCalibration = Calibration | FittedCalibration | None


@dataclass(frozen=True)
class _Prepared:
    """Trials with the scores that are judged, and what they were resampled and calibrated by."""

    trials: Trials
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
    ready = _prepare(scores, protocol, cluster, calibration, cross_validate, llr, seed)
    trials, points = ready.trials, ready.trials.points
    terms = Terms(
        cost or DetectionCost(),
        tandem or TandemCost(),
        asv,
        eer_form,
        max_false_alarm_rate,
        ready.calibration,
        ready.llr,
        asv_point,
    )
    if asv is not None:
        asv.rates_at(asv_point)  # an unknown point is an error before anything is computed
    if cross_validate and "bayes" in at:
        raise EvaluationError(
            "the operating point 'bayes' needs one calibration; a cross-validated one differs by fold"
        )
    operating_points = _operating_points(at or (["stored"] if ready.calibration else ["eer"]), points, terms)
    chosen, not_computed = choose(metrics, terms)
    decisions = [name for name in DECISION_METRICS if metrics is None or name in metrics]
    thresholds = {name: threshold for name, (_, threshold) in operating_points.items()}
    plan = Plan(chosen, decisions, thresholds, terms, all_groups=metrics is not None)
    whole = Group("", trials.name, np.arange(len(trials.scores)))
    groups = {
        group.column: some for some in (group_by(trials.frame, one, against) for one in by) for group in some[:1]
    }
    named = pools_of(trials.frame, pools, pool_column) if pools else []
    everything = [whole, *(g for some in groups.values() for g in some)]
    everything += [group for pool in named for group in (*pool.datasets, pool.together)]
    found = measure(everything, trials, plan, bootstrap, ready.clusters, confidence, seed, progress)
    results = tuple(
        Pool(
            pool.name,
            tuple(found[dataset].part for dataset in pool.datasets),
            macro_figures([found[dataset] for dataset in pool.datasets], confidence),
            found[pool.together].part,
        )
        for pool in named
    )
    how = Resampling(bootstrap, confidence, seed)
    extras = _extras(scores, ready, joint, segments, resolution_s, eer_form, how)
    settings = _settings(terms, ready, against, cross_validate)
    settings["bootstrap"] = {
        "rounds": bootstrap,
        "unit": cluster or "trials",
        "confidence": confidence,
        "seed": seed,
    }
    return Evaluation(
        name=trials.name,
        whole=found[whole].part,
        groups={column: tuple(found[group].part for group in some) for column, some in groups.items()},
        extras={name: figure.value for name, figure in extras.items()},
        extra_intervals={
            name: (f.low, f.high) for name, f in extras.items() if f.low is not None and f.high is not None
        },
        pools=results,
        operating_points=operating_points,
        not_computed=not_computed,
        warnings=tuple(_warnings(points, ready.clusters, cluster, results, bootstrap)),
        settings=settings,
        points=points,
        ratio_points=_ratio_points(ready),
    )


def _extras(
    scores: Scores | ArrayLike,
    ready: _Prepared,
    joint: AsvScores | None,
    segments: Segments | None,
    resolution_s: float,
    form: EerForm,
    how: Resampling,
) -> dict[str, Figure]:
    found = joint_figures(joint, how) if joint is not None else {}
    if segments is not None:
        windows = scores.windows if isinstance(scores, Scores) else None
        if windows is None:
            raise EvaluationError(
                "segments are judged by the scores of windows, which are not there: score --windows"
            )
        clusters = None
        if ready.clusters is not None:
            names = ready.trials.frame["utterance_id"].cast(pl.String)
            clusters = dict(zip(names, ready.clusters, strict=True))
        found |= segment_figures(windows, segments, how, clusters, resolution_s, form)
    return found


def _prepare(
    scores: Scores | ArrayLike,
    protocol: Protocol | Sequence[str] | ArrayLike,
    cluster: str | None,
    calibration: AnyCalibration,
    cross_validate: int,
    llr: bool | None,
    seed: int,
) -> _Prepared:
    trials = Trials.join(scores, protocol)
    clusters = trials.column(cluster) if cluster else None
    if calibration is not None and cross_validate:
        raise EvaluationError("give a calibration or cross-validate one, not both")
    if isinstance(calibration, FittedCalibration):
        if "utterance_id" in trials.frame.columns:
            calibration.refuse_same(trials.frame["utterance_id"])
        calibration = calibration.calibration
    if calibration is not None:
        trials = trials.with_scores(calibration.scale * trials.scores + calibration.offset)
    elif cross_validate:
        ratios = cross_calibrate(trials.scores, trials.is_bona_fide, cross_validate, clusters=clusters, seed=seed)
        trials = replace(trials, ratios=ratios)
    if llr is None:
        llr = calibration is not None or bool(cross_validate) or are_ratios(trials.frame)
    return _Prepared(trials, clusters, calibration, llr)


def _operating_points(
    at: Sequence[str | float], points: OperatingPoints, terms: Terms
) -> dict[str, tuple[str, float]]:
    found = {}
    for index, rule in enumerate(dict.fromkeys(at)):
        found["" if index == 0 else str(rule)] = threshold_at(rule, points, terms)
    return found


def _ratio_points(ready: _Prepared) -> OperatingPoints | None:
    if ready.trials.ratios is not None:
        return replace(ready.trials, scores=ready.trials.ratios).points
    return ready.trials.points if ready.llr else None


def _settings(terms: Terms, ready: _Prepared, against: str, folds: int) -> dict[str, Any]:
    """What the figures assume, as plain data."""
    tandem: dict[str, Any] = {}
    if terms.asv:
        tandem = {"tandem": vars(terms.tandem), "asv_eer": terms.asv.eer, "asv_point": terms.asv_point}
    return {
        "eer_form": terms.eer_form,
        "max_false_alarm_rate": terms.max_false_alarm_rate,
        "cost": vars(terms.cost),
        "against": against,
        "calibration": _calibration_in_words(ready, folds),
        **tandem,
    }


def _calibration_in_words(ready: _Prepared, folds: int) -> str:
    if ready.calibration is not None:
        return f"applied, fitted on {ready.calibration.fitted_on or 'trials that are not named'}"
    if folds:
        return f"cross-validated on these trials, {folds} folds"
    return "scores are log-likelihood ratios as they came" if ready.llr else "none: raw scores"


def _warnings(
    points: OperatingPoints,
    clusters: list[str] | None,
    cluster: str | None,
    pools: Sequence[Pool],
    rounds: int,
) -> list[str]:
    found = []
    parts: list[tuple[str, float]] = [("the EER", points.equal_error_rate())]
    for part in {part.name: part for pool in pools for part in pool.datasets}.values():
        if "eer" in part.figures:
            parts.append((f"the EER of {part.name}", part.figures["eer"].value))
    for what, rate in parts:
        if rate > 0.5:
            found.append(
                f"{what} is {rate:.2%}, worse than chance: the polarity looks reversed; check the sign of the "
                "scores (nothing was turned over)"
            )
    if rounds and clusters is not None and len(set(clusters)) < FEW_CLUSTERS:
        found.append(
            f"only {len(set(clusters))} values of {cluster}: intervals from so few clusters are too narrow"
        )
    return found


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
    terms: Terms | None = None,
    llr: bool | None = None,
) -> Comparison:
    """Paired comparison of two systems on the same trials, by any figure of `METRICS`.

    `terms` hold what the figure assumes (cost, form of the EER, ASV scores); `llr` says whether both systems'
    scores are log-likelihood ratios, which None tells from their files and calibrations.

    Raises:
        ScoringError: if either file lacks a trial of the protocol, or has one too many.
        EvaluationError: for an unknown metric, or one that needs what these scores are not.
    """
    ready = [
        _prepare(scores, protocol, cluster, calibration, 0, llr, seed)
        for scores, calibration in zip((first, second), calibrations, strict=True)
    ]
    terms = replace(terms or Terms(), llr=all(one.llr for one in ready))
    choose([metric], terms)
    if metric not in METRICS:
        raise EvaluationError(f"{metric!r} depends on a threshold; compare by one of: {', '.join(METRICS)}")
    found = METRICS[metric]
    return compare(
        ready[0].trials.scores,
        ready[1].trials.scores,
        ready[0].trials.is_bona_fide,
        names or (first.name, second.name),
        lambda points: found.compute(points, terms),
        found.title,
        found.lower_is_better,
        rounds=rounds,
        clusters=ready[0].clusters,
        unit=cluster or "trials",
        confidence=confidence,
        seed=seed,
        percent=found.percent,
    )


def parts_of(evaluation: Evaluation) -> list[Part]:
    """Every part of an evaluation: the whole, the groups, the datasets and the pools."""
    pools = [part for pool in evaluation.pools for part in (*pool.datasets, pool.pooled)]
    return [evaluation.whole, *(part for some in evaluation.groups.values() for part in some), *pools]
