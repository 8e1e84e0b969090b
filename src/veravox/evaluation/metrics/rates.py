"""Miss and false alarm rates over all thresholds, and what is read off them: EER, AUC, accuracy, ROC, DET."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from veravox.errors import EvaluationError

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
EerForm = Literal["nearest", "interpolated"]


def finite_scores(values: ArrayLike, name: str) -> Floats:
    """Scores of one class as a flat float64 array.

    Raises:
        EvaluationError: if there are none, they are not numbers, or one is not finite.
    """
    try:
        scores = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EvaluationError(f"the {name} scores are not numbers: {error}") from error
    if scores.ndim != 1:
        raise EvaluationError(f"the {name} scores must be one array of numbers; got the shape {scores.shape}")
    if not scores.size:
        raise EvaluationError(f"there are no {name} trials; both classes are needed")
    if not np.isfinite(scores).all():
        wrong = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise EvaluationError(f"the {name} score at position {wrong} is {scores[wrong]}, not a finite number")
    return scores


@dataclass(frozen=True)
class Decisions:
    """What one threshold does to the trials; scores at or above it are called bona fide.

    Counts are of trials. The positive class of `tpr` and `f1` is spoof: what a detector detects.
    """

    threshold: float
    misses: int
    bona_fide: int
    false_alarms: int
    spoof: int

    @property
    def miss_rate(self) -> float:
        """Share of bona fide trials called spoof."""
        return self.misses / self.bona_fide

    @property
    def false_alarm_rate(self) -> float:
        """Share of spoofed trials called bona fide."""
        return self.false_alarms / self.spoof

    @property
    def tpr(self) -> float:
        """Share of spoofed trials called spoof: TP / (TP + FN)."""
        return (self.spoof - self.false_alarms) / self.spoof

    @property
    def tnr(self) -> float:
        """Share of bona fide trials called bona fide: TN / (TN + FP)."""
        return (self.bona_fide - self.misses) / self.bona_fide

    @property
    def balanced_accuracy(self) -> float:
        """(TPR + TNR) / 2, whatever the shares of the classes."""
        return (self.tpr + self.tnr) / 2

    @property
    def f1(self) -> float:
        """F1 of the spoof class, 2 TP / (2 TP + FP + FN); moves with the share of spoof among the trials.

        Source:
            C. J. van Rijsbergen, Information Retrieval, 2nd ed., 1979, chapter 7 (with equal weights).
        """
        hits = self.spoof - self.false_alarms
        return 2 * hits / (2 * hits + self.misses + self.false_alarms)


@dataclass(frozen=True, eq=False)
class OperatingPoints:
    """Error counts at every threshold that makes a difference, from one sort.

    Point k calls scores at or above `thresholds[k]` bona fide; the last point calls all trials spoof. Trials
    with one score share their threshold, so that no order among ties can help or harm.

    Args:
        thresholds: the distinct scores, ascending, shape (K,).
        misses: bona fide trials below the threshold, shape (K + 1,), rising from 0.
        false_alarms: spoofed trials at or above it, shape (K + 1,), falling to 0.
    """

    thresholds: Floats
    misses: Counts
    false_alarms: Counts

    @classmethod
    def of(cls, bona_fide: ArrayLike, spoof: ArrayLike) -> OperatingPoints:
        """The points of two arrays of scores; higher is more bona fide.

        Raises:
            EvaluationError: if either class is empty or a score is not finite.
        """
        first = np.sort(finite_scores(bona_fide, "bona fide"))
        both = np.concatenate((first, np.sort(finite_scores(spoof, "spoof"))))
        # A stable sort merges the two runs in one pass.
        order = np.argsort(both, kind="stable")
        merged = both[order]
        last = np.append(merged[1:] != merged[:-1], True)  # of the trials with one score
        misses = np.zeros(int(np.count_nonzero(last)) + 1, dtype=np.int64)
        below = np.cumsum(order < len(first), dtype=np.int64, out=order)
        if len(misses) > len(merged):
            misses[1:], passed = below, np.arange(len(misses))
        else:
            misses[1:], merged, passed = below[last], merged[last], np.append(0, np.flatnonzero(last) + 1)
        return cls(merged, misses, misses - passed + (len(both) - len(first)))

    @property
    def bona_fide(self) -> int:
        """Number of bona fide trials."""
        return int(self.misses[-1])

    @property
    def spoof(self) -> int:
        """Number of spoofed trials."""
        return int(self.false_alarms[0])

    @cached_property
    def miss_rates(self) -> Floats:
        """Share of bona fide trials called spoof at each point, shape (K + 1,)."""
        return self.misses / self.bona_fide

    @cached_property
    def false_alarm_rates(self) -> Floats:
        """Share of spoofed trials called bona fide at each point, shape (K + 1,)."""
        return self.false_alarms / self.spoof

    @property
    def bona_fide_counts(self) -> Counts:
        """Bona fide trials at each distinct score, shape (K,)."""
        return np.diff(self.misses)

    @property
    def spoof_counts(self) -> Counts:
        """Spoofed trials at each distinct score, shape (K,)."""
        return self.false_alarms[:-1] - self.false_alarms[1:]

    def threshold(self, point: int) -> float:
        """The threshold of one point; just above the highest score for the last one."""
        if point < len(self.thresholds):
            return float(self.thresholds[point])
        return float(np.nextafter(self.thresholds[-1], np.inf))

    def decisions(self, threshold: float) -> Decisions:
        """What any threshold does to these trials."""
        point = int(np.searchsorted(self.thresholds, threshold, side="left"))
        return Decisions(
            float(threshold), int(self.misses[point]), self.bona_fide, int(self.false_alarms[point]), self.spoof
        )

    def highest_with_misses(self, max_rate: float) -> float:
        """The highest observed threshold with at most this share of the bona fide below it."""
        allowed = max_rate * self.bona_fide + 1e-9
        return self.threshold(int(np.searchsorted(self.misses, allowed, side="right")) - 1)

    def lowest_with_false_alarms(self, max_rate: float) -> float:
        """The lowest observed threshold with at most this share of the spoof at or above it."""
        allowed = max_rate * self.spoof + 1e-9
        return self.threshold(int(np.searchsorted(-self.false_alarms, -allowed, side="left")))

    def _crossing(self) -> int:
        """The first point whose miss rate reaches its false alarm rate; in whole numbers, so that it is exact."""

        def crossed(point: int) -> bool:
            return int(self.misses[point]) * self.spoof >= int(self.false_alarms[point]) * self.bona_fide

        return bisect_left(range(len(self.misses)), True, key=crossed)

    def _counts(self, point: int) -> tuple[int, int]:
        return int(self.misses[point]), int(self.false_alarms[point])

    def eer_point(self) -> int:
        """The point where the two rates are nearest; the lower threshold of two equally near ones."""
        point = self._crossing()
        before, at = (abs(m * self.spoof - a * self.bona_fide) for m, a in map(self._counts, (point - 1, point)))
        return point - (before <= at)

    def equal_error_rate(self, form: EerForm = "nearest") -> float:
        """See `equal_error_rate`."""
        point = self._crossing()
        return _rate_between(self._counts(point - 1), self._counts(point), self.bona_fide, self.spoof, form)

    def auc(self) -> float:
        """See `auc`."""
        lost = self.misses[:-1] + self.misses[1:]
        lost *= self.spoof_counts
        return 1 - int(lost.sum()) / (2 * self.bona_fide * self.spoof)

    def partial_auc(self, max_false_alarm_rate: float, standardised: bool = False) -> float:
        """See `partial_auc`."""
        limit = max_false_alarm_rate
        if not 0 < limit <= 1:
            raise EvaluationError(f"the largest false alarm rate must lie in (0, 1]; got {limit}")
        x, y = self.false_alarm_rates[::-1], 1 - self.miss_rates[::-1]  # both rise from 0 to 1
        inside = int(np.searchsorted(x, limit, side="right"))
        x = np.append(x[:inside], limit)
        at_limit = 1.0 if inside == len(y) else _between(self.false_alarm_rates[::-1], y, inside, limit)
        y = np.append(y[:inside], at_limit)
        area = float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)
        if not standardised:
            return area / limit
        chance = limit**2 / 2
        return 0.5 * (1 + (area - chance) / (limit - chance))


def _rate_between(
    before: tuple[int, int], at: tuple[int, int], bona_fide: int, spoof: int, form: EerForm
) -> float:
    """The EER from (misses, false alarms) at the two points around the crossing of the rates."""
    gap_before, gap_at = (misses * spoof - alarms * bona_fide for misses, alarms in (before, at))
    if form == "nearest":
        misses, alarms = before if -gap_before <= gap_at else at
        return (misses / bona_fide + alarms / spoof) / 2
    if form != "interpolated":
        raise EvaluationError(f"unknown form of EER {form!r}; use 'nearest' or 'interpolated'")
    share = -gap_before / (gap_at - gap_before)
    return (before[0] + share * (at[0] - before[0])) / bona_fide


def _between(x: Floats, y: Floats, right: int, at: float) -> float:
    share = (at - x[right - 1]) / (x[right] - x[right - 1])
    return float(y[right - 1] + share * (y[right] - y[right - 1]))


def equal_error_rate(bona_fide: ArrayLike, spoof: ArrayLike, form: EerForm = "nearest") -> float:
    """Rate at which misses equal false alarms; tied scores share their threshold.

    With Pmiss(t) the share of bona fide scores below t and Pfa(t) the share of spoofed scores at or above it:
    `nearest` is (Pmiss(t) + Pfa(t)) / 2 at the observed threshold with the smallest |Pmiss - Pfa| (the lower of
    two), as the challenges print it; `interpolated` is where the straight line between the two observed points
    around the crossing has Pmiss = Pfa.

    Args:
        bona_fide: scores, shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        form: which of the two definitions.
    Returns:
        A fraction in [0, 1]; 0.5 if every trial has one score.
    Raises:
        EvaluationError: if either class is empty or a score is not finite.
    Source:
        Wu et al., ASVspoof 2015, Interspeech 2015, section 4 (nearest); Brümmer and de Villiers, The BOSARIS
        Toolkit, 2011, section 2 (thresholds and ties).
    """
    first, second = np.sort(finite_scores(bona_fide, "bona fide")), np.sort(finite_scores(spoof, "spoof"))

    def counts(threshold: float) -> tuple[int, int]:
        return int(np.searchsorted(first, threshold)), second.size - int(np.searchsorted(second, threshold))

    def crossed(threshold: float) -> bool:
        misses, alarms = counts(threshold)
        return misses * second.size >= alarms * first.size

    # Both arrays are sorted: the crossing is bisected, which needs no counts at the other thresholds.
    after = [bisect_left(scores, True, key=crossed) for scores in (first, second)]
    at = min((float(scores[k]) for scores, k in zip((first, second), after) if k < scores.size), default=math.inf)
    before = max(float(scores[k - 1]) for scores, k in zip((first, second), after) if k > 0)
    return _rate_between(counts(before), counts(at), first.size, second.size, form)


def equal_error_threshold(bona_fide: ArrayLike, spoof: ArrayLike) -> float:
    """The threshold of the `nearest` equal error rate: scores at or above it are called bona fide."""
    points = OperatingPoints.of(bona_fide, spoof)
    return points.threshold(points.eer_point())


def auc(bona_fide: ArrayLike, spoof: ArrayLike) -> float:
    """Area under the ROC curve: the chance that a bona fide trial outscores a spoofed one, ties counting half.

    AUC = sum over pairs of [s_b > s_s] + [s_b = s_s] / 2, over the number of pairs.

    Args:
        bona_fide: scores, shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
    Returns:
        A fraction in [0, 1].
    Raises:
        EvaluationError: if either class is empty or a score is not finite.
    Source:
        Hanley and McNeil, The meaning and use of the area under a ROC curve, Radiology 143, 1982.
    """
    return OperatingPoints.of(bona_fide, spoof).auc()


def partial_auc(
    bona_fide: ArrayLike, spoof: ArrayLike, max_false_alarm_rate: float = 0.01, standardised: bool = False
) -> float:
    """Area under the ROC curve where at most `max_false_alarm_rate` of the spoof passes, over that width.

    The mean share of bona fide trials accepted over that range: 1 is perfect, half the width is chance.

    Args:
        bona_fide: scores, shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        max_false_alarm_rate: the width, in (0, 1].
        standardised: McClish's form instead, in which chance is 0.5.
    Raises:
        EvaluationError: if either class is empty, a score is not finite, or the width is impossible.
    Source:
        McClish, Analyzing a portion of the ROC curve, Medical Decision Making 9, 1989.
    """
    return OperatingPoints.of(bona_fide, spoof).partial_auc(max_false_alarm_rate, standardised)


def decisions(bona_fide: ArrayLike, spoof: ArrayLike, threshold: float) -> Decisions:
    """Balanced accuracy, TPR, TNR and F1 when scores at or above `threshold` are called bona fide.

    Raises:
        EvaluationError: if either class is empty, or a score or the threshold is not finite.
    """
    if not math.isfinite(threshold):
        raise EvaluationError(f"the threshold must be a finite number; got {threshold}")
    return OperatingPoints.of(bona_fide, spoof).decisions(threshold)
