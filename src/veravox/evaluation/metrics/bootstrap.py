"""Intervals by resampling trials or whole clusters of them; the scores are sorted once, not once a round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from veravox.errors import EvaluationError
from veravox.evaluation.metrics.rates import Floats, OperatingPoints

FEW_CLUSTERS = 10
SHIFT = 31
Weights = NDArray[np.int64]


class SortedTrials:
    """Scores sorted once; gives the operating points for any whole-number weights of the trials.

    Args:
        scores: shape (trials,), finite; higher is more bona fide.
        is_bona_fide: shape (trials,), booleans.
        members: positions of the trials that take part; all if None. Weights are always given for all trials.
    Raises:
        EvaluationError: if a class is missing among the members.
    """

    def __init__(
        self, scores: Floats, is_bona_fide: NDArray[np.bool_], members: NDArray[np.intp] | None = None
    ) -> None:
        order = np.argsort(scores if members is None else scores[members], kind="stable")
        self.order = order if members is None else members[order]
        ranked = scores[self.order]
        up = is_bona_fide[self.order]
        # One running sum counts both classes: bona fide in the upper half of each number, spoof in the lower.
        self.codes = np.where(up, np.int64(1) << SHIFT, np.int64(1))
        if up.all() or not up.any():
            missing = "spoofed" if len(order) and up.all() else "bona fide"
            raise EvaluationError(f"there are no {missing} trials; both classes are needed")
        ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
        self.ends = None if len(ends) == len(ranked) else ends
        self.thresholds = ranked[ends]

    def points(self, weights: Weights | None = None) -> OperatingPoints:
        """Counts at every threshold, each trial counted as often as its weight says (once if None)."""
        both = self.codes.copy() if weights is None else weights[self.order] * self.codes
        np.cumsum(both, out=both)
        if self.ends is not None:
            both = both[self.ends]
        misses, false_alarms = (np.zeros(len(both) + 1, dtype=np.int64) for _ in range(2))
        np.right_shift(both, SHIFT, out=misses[1:])
        both &= (1 << SHIFT) - 1  # spoofed trials up to each threshold
        np.subtract(both[-1], both, out=false_alarms[1:])
        false_alarms[0] = both[-1]
        return OperatingPoints(self.thresholds, misses, false_alarms)


def draws(
    rounds: int, is_bona_fide: NDArray[np.bool_], clusters: Sequence[Any] | ArrayLike | None = None, seed: int = 0
) -> Iterator[Weights]:
    """Yield, round by round, how often each trial is drawn.

    Without clusters, as many bona fide and as many spoofed trials are drawn (with replacement) as there are. With
    clusters (speakers, sources), whole clusters are drawn: separately among those with only bona fide trials, only
    spoofed ones, and both, so that no round lacks a class.

    Raises:
        EvaluationError: if there are fewer than two clusters of a kind that is drawn from.
    """
    rng = np.random.default_rng(seed)
    if clusters is None:
        strata, membership = [np.flatnonzero(is_bona_fide), np.flatnonzero(~is_bona_fide)], None
    else:
        names, membership = np.unique(np.asarray(clusters).astype(str), return_inverse=True)
        strata = _cluster_strata(membership, len(names), is_bona_fide)
    units = sum(len(stratum) for stratum in strata)
    for _ in range(rounds):
        weights = np.zeros(units, dtype=np.int64)
        for stratum in strata:
            picked = rng.integers(0, len(stratum), len(stratum), dtype=np.int32)
            weights[stratum] = np.bincount(picked, minlength=len(stratum))
        yield weights if membership is None else weights[membership]


def _cluster_strata(
    membership: NDArray[np.intp], count: int, is_bona_fide: NDArray[np.bool_]
) -> list[NDArray[np.intp]]:
    bona_fide = np.bincount(membership[is_bona_fide], minlength=count) > 0
    spoof = np.bincount(membership[~is_bona_fide], minlength=count) > 0
    kinds = (bona_fide & ~spoof, spoof & ~bona_fide, bona_fide & spoof)
    strata = [np.flatnonzero(kind) for kind in kinds if kind.any()]
    if any(len(stratum) < 2 for stratum in strata):
        raise EvaluationError(
            "the clusters cannot be resampled: of those with only bona fide, only spoofed, or both kinds of "
            "trials, one kind has a single cluster; choose another column for the clusters, or resample trials"
        )
    return strata


@dataclass(frozen=True)
class Interval:
    """Where a figure lies over the rounds: from `low` to `high`, at a confidence."""

    low: float
    high: float
    confidence: float = 0.95

    @classmethod
    def of(cls, values: ArrayLike, confidence: float = 0.95) -> Interval:
        """The percentile interval of resampled values.

        Source:
            Efron and Tibshirani, An introduction to the bootstrap, 1993, chapter 13.
        """
        low, high = np.quantile(np.asarray(values), [(1 - confidence) / 2, (1 + confidence) / 2])
        return cls(float(low), float(high), confidence)


def bootstrap_interval(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    metric: Callable[[OperatingPoints], float] = OperatingPoints.equal_error_rate,
    rounds: int = 1000,
    confidence: float = 0.95,
    clusters: Sequence[Any] | ArrayLike | None = None,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of any figure that is read off operating points.

    Args:
        bona_fide: scores, shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        metric: from the operating points of a round to the figure; the EER by default.
        rounds: how many times to resample.
        confidence: share of the rounds inside the interval.
        clusters: the cluster of each trial, bona fide ones first; trials are resampled one by one if None.
        seed: of the resampling.
    Raises:
        EvaluationError: if a class is empty, a score is not finite, or there are too few clusters.
    """
    first, second = np.asarray(bona_fide, dtype=np.float64), np.asarray(spoof, dtype=np.float64)
    OperatingPoints.of(first, second)  # for its checks
    is_bona_fide = np.arange(first.size + second.size) < first.size
    trials = SortedTrials(np.concatenate((first, second)), is_bona_fide)
    values = [metric(trials.points(weights)) for weights in draws(rounds, is_bona_fide, clusters, seed)]
    return Interval.of(values, confidence)
