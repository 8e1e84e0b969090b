"""The engine below `evaluate`: joined trials, and every metric of many groups over the same resampled rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from veravox.errors import EvaluationError, first_few
from veravox.evaluation.calibration import labels_as_bona_fide
from veravox.evaluation.groups import Group
from veravox.evaluation.metrics.bootstrap import Interval, SortedTrials, Weights, draws
from veravox.evaluation.metrics.catalogue import Metric, MetricSettings
from veravox.evaluation.metrics.rates import Decisions, Floats, OperatingPoints
from veravox.evaluation.results import Estimate, GroupResult
from veravox.tables import BONA_FIDE, SPOOF, Protocol, Scores, standard_label

Compute = Callable[[OperatingPoints], float]


@dataclass(frozen=True, eq=False)
class Trials:
    """Scores and labels of one evaluation, with the joined columns of the protocol."""

    frame: pl.DataFrame
    scores: Floats
    is_bona_fide: NDArray[np.bool_]
    name: str
    ratios: Floats | None = None  # log-likelihood ratios, where they are not a rising map of the scores

    @classmethod
    def join(cls, scores: Scores | ArrayLike, labels: Protocol | Sequence[str] | ArrayLike) -> Trials:
        """Scores beside their labels: joined by `utterance_id`, or, for arrays, by position.

        Raises:
            ScoringError: if a trial has no score, or a score has no trial.
            ProtocolError: if a trial has no label.
            EvaluationError: if arrays differ in length, hold numbers as labels, or a class is missing.
        """
        if isinstance(scores, Scores) and isinstance(labels, Protocol):
            labels.require("label")
            frame = scores.align(labels)
            _check_labels_match(frame)
            name = scores.name
        elif isinstance(scores, Scores) or isinstance(labels, Protocol):
            raise EvaluationError("give Scores with a Protocol, or two arrays: scores and their labels")
        else:
            frame, name = _from_arrays(scores, labels), "scores"
        is_bona_fide = (frame["label"] == BONA_FIDE).to_numpy()
        values = frame["score"].to_numpy().astype(np.float64)
        OperatingPoints.of(values[is_bona_fide], values[~is_bona_fide])  # both classes, all finite
        return cls(frame, values, is_bona_fide, name)

    def with_scores(self, scores: Floats) -> Trials:
        """The same trials with other scores, in the same order."""
        return replace(self, frame=self.frame.with_columns(pl.Series("score", scores)), scores=scores)

    @property
    def points(self) -> OperatingPoints:
        """Operating points of all trials."""
        return OperatingPoints.of(self.scores[self.is_bona_fide], self.scores[~self.is_bona_fide])

    def column(self, name: str) -> list[str]:
        """A column without empty cells, to resample by.

        Raises:
            EvaluationError: if there is no such column, or a trial has no value in it.
        """
        if name not in self.frame.columns:
            raise EvaluationError(
                f"there is no column {name!r} to resample by; found: {', '.join(self.frame.columns)}"
            )
        values = self.frame[name].cast(pl.String)
        empty = (values.is_null() | values.is_in(["", "-"])).arg_true()
        if len(empty):
            where = self.frame["utterance_id"].gather(empty) if "utterance_id" in self.frame.columns else empty
            raise EvaluationError(
                f"{len(empty)} trials have no {name}, first {first_few(where)}; fill it in, or resample by another"
            )
        return values.to_list()


def _from_arrays(scores: ArrayLike, labels: Sequence[str] | ArrayLike) -> pl.DataFrame:
    values, is_bona_fide = np.asarray(scores, dtype=np.float64), labels_as_bona_fide(labels)
    if values.shape != is_bona_fide.shape or values.ndim != 1:
        raise EvaluationError(
            f"scores and labels must be two arrays of one length; got {values.shape} and {is_bona_fide.shape}"
        )
    return pl.DataFrame({"score": values, "label": np.where(is_bona_fide, BONA_FIDE, SPOOF).tolist()})


def _check_labels_match(frame: pl.DataFrame) -> None:
    """A score file that carries labels of its own must mean the same trials."""
    if "label_in_scores" not in frame.columns:
        return
    theirs = frame["label_in_scores"].cast(pl.String)
    standard = {word: standard_label(word) for word in theirs.drop_nulls().unique()}
    differ = frame.filter(theirs.replace(standard) != pl.col("label"))
    if len(differ):
        raise EvaluationError(
            f"{len(differ)} trials have another label in the score file than in the protocol, first "
            f"{first_few(differ['utterance_id'])}; is it the protocol of these scores?"
        )


def estimate_name(name: str, operating_point: str) -> str:
    """`tpr` at the first operating point, `tpr@miss=0.01` at another."""
    return f"{name}@{operating_point}" if operating_point else name


class _BothClasses:
    """A group with bona fide and spoofed trials, sorted once."""

    def __init__(self, group: Group, trials: Trials, metrics: Mapping[str, Compute], of_ratios: set[str]) -> None:
        apart = trials.ratios is not None
        self.names = sorted(metrics, key=lambda name: apart and name in of_ratios)
        self.metrics = [metrics[name] for name in self.names]
        self.first_of_ratios = len(metrics) - (len(of_ratios & set(metrics)) if apart else 0)
        self.sorted = [SortedTrials(trials.scores, trials.is_bona_fide, group.members)]
        if trials.ratios is not None:
            self.sorted.append(SortedTrials(trials.ratios, trials.is_bona_fide, group.members))

    def values(self, weights: Weights | None) -> list[float]:
        points = [trials.points(weights) for trials in self.sorted]
        if not points[0].bona_fide or not points[0].spoof:
            return [np.nan] * len(self.metrics)  # a round of clusters can leave a group without a class
        return [
            metric(points[0] if index < self.first_of_ratios else points[-1])
            for index, metric in enumerate(self.metrics)
        ]


class _OneClass:
    """A group of bona fide or of spoofed trials alone: only the share decided rightly can be told."""

    def __init__(self, group: Group, trials: Trials, thresholds: Mapping[str, float]) -> None:
        self.members = group.members
        scores, bona_fide = trials.scores[group.members], bool(trials.is_bona_fide[group.members[0]])
        self.names = [estimate_name("tnr" if bona_fide else "tpr", point) for point in thresholds]
        self.right = [(scores >= threshold) == bona_fide for threshold in thresholds.values()]

    def values(self, weights: Weights | None) -> list[float]:
        count = np.ones(len(self.members), dtype=np.int64) if weights is None else weights[self.members]
        total = int(count.sum())
        return [float(count @ right) / total if total else np.nan for right in self.right]


@dataclass(frozen=True)
class GroupEstimates:
    """The estimates of a group, and their values round by round, shape (rounds, metrics)."""

    result: GroupResult
    rounds: Floats


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: rounds (none if 0), confidence, seed."""

    rounds: int = 0
    confidence: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class MetricPlan:
    """What is computed for every group.

    Args:
        metrics: for the whole, and, where they are for each group or `all_groups` holds, for groups.
        decisions: names of the metrics of decisions at each threshold.
        thresholds: name of the operating point to its threshold.
        all_groups: whether groups get every metric.
    """

    metrics: Sequence[Metric]
    decisions: Sequence[str]
    thresholds: Mapping[str, float]
    settings: MetricSettings
    all_groups: bool = False

    def functions(self, whole: bool) -> dict[str, Compute]:
        """Name to function for the whole or for a group of both classes."""

        def of(metric: Metric) -> Compute:
            return lambda points: metric.compute(points, self.settings)

        def deciding(name: str, threshold: float) -> Compute:
            read = getattr(Decisions, name).fget
            return lambda points: read(points.decisions(threshold))

        selected = [metric for metric in self.metrics if whole or self.all_groups or metric.each_group]
        functions = {metric.name: of(metric) for metric in selected}
        for point, threshold in self.thresholds.items():
            functions |= {estimate_name(name, point): deciding(name, threshold) for name in self.decisions}
        return functions


def measure(
    groups: Sequence[Group],
    trials: Trials,
    plan: MetricPlan,
    resampling: Resampling,
    clusters: Sequence[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[Group, GroupEstimates]:
    """Every metric of every group; in each round all groups see the same resampled trials.

    The first group is the whole.
    """
    workers = [_worker(group, trials, plan, whole=index == 0) for index, group in enumerate(groups)]
    drawn: list[list[list[float]]] = [[] for _ in workers]
    if resampling.rounds:
        for weights in draws(resampling.rounds, trials.is_bona_fide, clusters, resampling.seed):
            for rounds, worker in zip(drawn, workers, strict=True):
                rounds.append(worker.values(weights))
            if progress:
                progress(1)
    estimates = {}
    for group, worker, rounds in zip(groups, workers, drawn, strict=True):
        values = np.array(rounds).reshape(resampling.rounds, len(worker.names))
        estimates[group] = _group_estimates(group, worker, trials, values, resampling.confidence)
    return estimates


def _worker(group: Group, trials: Trials, plan: MetricPlan, whole: bool) -> _BothClasses | _OneClass:
    labels = trials.is_bona_fide[group.members]
    if labels.all() or not labels.any():
        return _OneClass(group, trials, plan.thresholds)
    of_ratios = {metric.name for metric in plan.metrics if metric.need == "llr"}
    return _BothClasses(group, trials, plan.functions(whole), of_ratios)


def _group_estimates(
    group: Group, worker: _BothClasses | _OneClass, trials: Trials, rounds: Floats, confidence: float
) -> GroupEstimates:
    estimates, note, side = {}, group.note, group.side
    for index, (name, value) in enumerate(zip(worker.names, worker.values(None), strict=True)):
        estimates[name], missing = estimate_of(value, rounds[:, index], confidence)
        if missing and "rounds" not in note:
            note = "; ".join(filter(None, [note, f"{missing} of {len(rounds)} rounds drew none of a class"]))
    labels = trials.is_bona_fide[group.members]
    if isinstance(worker, _OneClass):
        note = note or "one class only: the share decided rightly"
        side = BONA_FIDE if labels[0] else SPOOF
    counts = int(labels.sum()), int((~labels).sum())
    return GroupEstimates(GroupResult(group.column, group.name, *counts, estimates, note, side), rounds)


def estimate_of(value: float, rounds: Floats, confidence: float) -> tuple[Estimate, int]:
    """A value with its interval, and how many rounds had no value; no interval if that is half of them."""
    present = rounds[~np.isnan(rounds)]
    if len(present) * 2 <= len(rounds) or not len(present):
        return Estimate(value), len(rounds) - len(present)
    interval = Interval.of(present, confidence)
    return Estimate(value, interval.low, interval.high), len(rounds) - len(present)


def macro_estimates(datasets: Sequence[GroupEstimates], confidence: float) -> dict[str, Estimate]:
    """The mean over datasets of each metric that all of them have, with the interval of that mean."""
    shared = [
        name
        for name in datasets[0].result.estimates
        if all(name in dataset.result.estimates for dataset in datasets)
    ]
    means = {}
    for name in shared:
        mean = float(np.mean([dataset.result.estimates[name].value for dataset in datasets]))
        columns = [dataset.rounds[:, list(dataset.result.estimates).index(name)] for dataset in datasets]
        means[name] = estimate_of(mean, np.mean(columns, axis=0), confidence)[0]
    return means
