"""Metrics of other inputs than the scores of trials, with intervals: a-DCF, and EERs over segments and time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from veravox.errors import EvaluationError, first_few
from veravox.evaluation.estimates import Resampling, estimate_of
from veravox.evaluation.metrics.rates import EerForm
from veravox.evaluation.metrics.segments import Stretches, range_stretches, segment_stretches
from veravox.evaluation.metrics.tandem import AsvScores, JointTrials
from veravox.evaluation.results import Estimate
from veravox.tables import Segments


def joint_estimates(joint: AsvScores, resampling: Resampling) -> dict[str, Estimate]:
    """The a-DCF; a round draws as many targets, non-targets and spoofed trials as there are.

    Raises:
        EvaluationError: if a kind has no trials, or a score is not finite.
    """
    trials = JointTrials(joint.target, joint.non_target, joint.spoof)
    rng = np.random.default_rng(resampling.seed)
    rounds = np.array([trials.resampled(rng) for _ in range(resampling.rounds)])
    return {"a_dcf": estimate_of(trials.cheapest(), rounds, resampling.confidence)[0]}


def segment_estimates(
    windows: pl.DataFrame,
    segments: Segments,
    resampling: Resampling,
    clusters: Mapping[str, str] | None = None,
    resolution_s: float = 0.16,
    form: EerForm = "nearest",
) -> dict[str, Estimate]:
    """EERs over segments and over time; a round draws whole utterances, or whole clusters of them.

    Moments of one utterance are alike, so they are never drawn alone. Both rates see the same draws; a round
    without bona fide or without spoofed time has no value.

    Args:
        windows: `utterance_id`, `start_s`, `end_s`, `score`; higher is more bona fide.
        segments: what is spoof in each utterance.
        resampling: rounds, confidence and seed.
        clusters: utterance to cluster (speaker, source); each utterance is its own if None.
        resolution_s: of the segment-level EER.
        form: of the EER.
    Raises:
        EvaluationError: if the tables are not of the same utterances, a class is missing, an utterance has no
            cluster, or there are fewer than two to draw from.
    """
    kinds = {
        "segment_eer": segment_stretches(windows, segments, resolution_s),
        "range_eer": range_stretches(windows, segments),
    }
    values = {name: kind.points().equal_error_rate(form) for name, kind in kinds.items()}
    if not resampling.rounds:
        return {name: Estimate(value) for name, value in values.items()}
    membership = _membership(kinds["range_eer"].names, clusters)
    count, rng = int(membership.max()) + 1, np.random.default_rng(resampling.seed)
    if count < 2:
        unit = "utterance" if clusters is None else "cluster"
        raise EvaluationError(f"one {unit} with segments cannot be resampled; leave out --bootstrap")
    rounds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(resampling.rounds):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)[membership]
        for name, kind in kinds.items():
            rounds[name].append(_rate(kind, weights, form))
    return {name: estimate_of(values[name], np.array(rounds[name]), resampling.confidence)[0] for name in kinds}


def _membership(names: pl.Series, clusters: Mapping[str, str] | None) -> np.ndarray:
    if clusters is None:
        return np.arange(len(names))
    unknown = [name for name in names if name not in clusters]
    if unknown:
        raise EvaluationError(
            f"{len(unknown)} utterances with segments have no cluster, as they are not in the protocol, first "
            f"{first_few(unknown)}"
        )
    return np.unique([clusters[name] for name in names], return_inverse=True)[1]


def _rate(kind: Stretches, weights: np.ndarray, form: EerForm) -> float:
    drawn = weights[kind.utterance]
    if not all((size * drawn).any() for size in kind.sizes):
        return float("nan")
    return kind.points(weights).equal_error_rate(form)
