"""Figures of other inputs than the scores of trials, with intervals: a-DCF, and EERs over segments and time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from veravox.errors import EvaluationError, first_few
from veravox.evaluation.measuring import figure_of
from veravox.evaluation.rates import EerForm
from veravox.evaluation.results import Figure
from veravox.evaluation.segments import Stretches, range_stretches, segment_stretches
from veravox.evaluation.tandem import AsvScores, JointTrials
from veravox.tables import Segments


@dataclass(frozen=True)
class Resampling:
    """How intervals are made: rounds (none if 0), confidence, seed."""

    rounds: int = 0
    confidence: float = 0.95
    seed: int = 0


def joint_figures(joint: AsvScores, how: Resampling) -> dict[str, Figure]:
    """The a-DCF; a round draws as many targets, non-targets and spoofed trials as there are.

    Raises:
        EvaluationError: if a kind has no trials, or a score is not finite.
    """
    trials = JointTrials(joint.target, joint.non_target, joint.spoof)
    rng = np.random.default_rng(how.seed)
    rounds = np.array([trials.resampled(rng) for _ in range(how.rounds)])
    return {"a_dcf": figure_of(trials.cheapest(), rounds, how.confidence)[0]}


def segment_figures(
    windows: pl.DataFrame,
    segments: Segments,
    how: Resampling,
    clusters: Mapping[str, str] | None = None,
    resolution_s: float = 0.16,
    form: EerForm = "nearest",
) -> dict[str, Figure]:
    """EERs over segments and over time; a round draws whole utterances, or whole clusters of them.

    Moments of one utterance are alike, so they are never drawn alone. Both figures see the same draws; a round
    without bona fide or without spoofed time has no value.

    Args:
        windows: `utterance_id`, `start_s`, `end_s`, `score`; higher is more bona fide.
        segments: what is spoof in each utterance.
        how: rounds, confidence and seed.
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
    if not how.rounds:
        return {name: Figure(value) for name, value in values.items()}
    membership = _membership(kinds["range_eer"].names, clusters)
    count, rng = int(membership.max()) + 1, np.random.default_rng(how.seed)
    if count < 2:
        unit = "utterance" if clusters is None else "cluster"
        raise EvaluationError(f"one {unit} with segments cannot be resampled; leave out --bootstrap")
    rounds: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(how.rounds):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)[membership]
        for name, kind in kinds.items():
            rounds[name].append(_rate(kind, weights, form))
    return {name: figure_of(values[name], np.array(rounds[name]), how.confidence)[0] for name in kinds}


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
