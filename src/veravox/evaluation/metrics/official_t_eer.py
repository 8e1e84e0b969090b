"""The t-EER as the evaluation package of ASVspoof 5 computes it."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from veravox.evaluation.metrics.rates import Floats, OperatingPoints, finite_scores
from veravox.evaluation.metrics.tandem import AsvScores


def official_t_eer(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    asv_target: ArrayLike,
    asv_non_target: ArrayLike,
    asv_spoof: ArrayLike,
) -> float:
    """Concurrent tandem equal error rate of the ASVspoof 5 package.

    As `t_eer`, but: each trial is a threshold of its own (of one score, bona fide and targets are rejected first);
    for each ASV threshold u, t has the smallest |Pmiss - (Pnon + Pspoof) / 2|; of these pairs the one with the
    smallest |Pnon / Pspoof - 1| that the two systems' rates allow counts; and its Pspoof alone is given, where
    `t_eer` gives the mean of the three rates. With few trials the two differ by up to 0.02.

    Args:
        bona_fide: scores of the countermeasure, shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        asv_target: scores of the ASV for targets; higher is more the target.
        asv_non_target: the same for non-targets.
        asv_spoof: the same for spoofed trials.
    Returns:
        A fraction in [0, 1]; NaN if no pair of thresholds is allowed.
    Raises:
        EvaluationError: if a class is empty or a score is not finite.
    Source:
        asvspoof-challenge/asvspoof5, evaluation-package/calculate_modules.py, compute_teer.
    """
    scores = AsvScores(*(np.asarray(kind, dtype=np.float64) for kind in (asv_target, asv_non_target, asv_spoof)))
    return official_t_eer_of_points(OperatingPoints.of(bona_fide, spoof), scores)


def _trial_by_trial(points: OperatingPoints) -> tuple[Floats, Floats]:
    """Miss and false alarm rates with one trial more rejected at each step, shape (trials + 1,)."""
    misses, alarms = np.diff(points.misses), -np.diff(points.false_alarms)
    steps = np.stack([misses, alarms], axis=1).ravel()  # of one score, bona fide first
    is_bona_fide = np.repeat(np.tile([1, 0], len(misses)), steps)
    missed = np.append(0, np.cumsum(is_bona_fide))
    return missed / points.bona_fide, (points.spoof - (np.arange(len(missed)) - missed)) / points.spoof


def _asv_rates(scores: AsvScores) -> tuple[Floats, Floats, Floats]:
    """Targets missed, non-targets and spoof accepted, with one trial more rejected at each step."""
    kinds = [
        finite_scores(kind, f"{name} ASV")
        for kind, name in ((scores.target, "target"), (scores.non_target, "non-target"), (scores.spoof, "spoofed"))
    ]
    order = np.argsort(np.concatenate(kinds), kind="stable")
    which = np.repeat(np.arange(3), [len(kind) for kind in kinds])[order]
    miss, non_target, spoof = (
        np.append(0, np.cumsum(which == index)) / len(kind) for index, kind in enumerate(kinds)
    )
    return miss, 1 - non_target, 1 - spoof


def official_t_eer_of_points(points: OperatingPoints, scores: AsvScores) -> float:
    """See `official_t_eer`."""
    miss, alarm = _trial_by_trial(points)
    asv_miss, asv_non_target, asv_spoof = _asv_rates(scores)
    allowed = asv_miss < (asv_non_target + asv_spoof) / 2
    asv_miss, asv_non_target, asv_spoof = asv_miss[allowed], asv_non_target[allowed], asv_spoof[allowed]
    if not len(asv_miss):
        return float("nan")

    def gap(at: NDArray[np.intp]) -> Floats:
        missed = miss[at] + (1 - miss[at]) * asv_miss
        return missed - (0.5 * (1 - miss[at]) * asv_non_target + 0.5 * alarm[at] * asv_spoof)

    # The gap never falls along the countermeasure's thresholds: halve to its first place at or above 0.
    low, high = np.zeros(len(asv_miss), dtype=np.intp), np.full(len(asv_miss), len(miss) - 1)
    while (low < high).any():
        middle = (low + high) // 2
        above = gap(middle) >= 0
        low, high = np.where(above, low, middle + 1), np.where(above, middle, high)
    before = np.maximum(low - 1, 0)
    chosen = np.where(np.abs(gap(before)) <= np.abs(gap(low)), before, low)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(asv_non_target / asv_spoof - alarm[chosen] / (1 - miss[chosen]))
    distance[~np.isfinite(distance)] = np.inf
    best = int(np.argmin(distance))
    return float(asv_spoof[best] * alarm[chosen[best]]) if np.isfinite(distance[best]) else float("nan")
