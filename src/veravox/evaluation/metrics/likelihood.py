"""How good log-likelihood ratios are: Cllr, its minimum by PAV, reliability."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from veravox.evaluation.metrics.rates import Counts, Floats, OperatingPoints

PASSES = 20
"""Of pooling all runs at once, before the rest is pooled one by one."""


def cllr_of_points(points: OperatingPoints) -> float:
    """See `cllr`; the thresholds of the points are the log-likelihood ratios."""
    misses = points.bona_fide_counts @ np.logaddexp(0, -points.thresholds) / points.bona_fide
    alarms = points.spoof_counts @ np.logaddexp(0, points.thresholds) / points.spoof
    return float(misses + alarms) / (2 * np.log(2))


def pav_ratios(points: OperatingPoints) -> Floats:
    """The best log-likelihood ratio of each distinct score, by pool-adjacent-violators, shape (K,).

    Rising with the score, and infinite where only one class is found.
    """
    up, down = points.bona_fide_counts, points.spoof_counts
    found = up + down > 0  # resampling can leave a score without a trial
    rising = np.repeat(np.nan, len(found))
    first, above, below = pooled(up[found], down[found])
    with np.errstate(divide="ignore"):
        ratios = np.log(above) - np.log(below) - np.log(points.bona_fide / points.spoof)
    sizes = np.append(first[1:], np.count_nonzero(found)) - first
    rising[found] = np.repeat(ratios, sizes)
    return rising


def pooled(up: Counts, down: Counts) -> tuple[Counts, Counts, Counts]:
    """Neighbours pooled until the share up / (up + down) rises from block to block.

    Returns:
        Where each block begins, and its sums of `up` and `down`.
    """
    first = np.arange(len(up))
    for _ in range(PASSES):  # pools each run that does not rise at once; few are left over for the loop below
        starts = np.append(True, up[1:] * down[:-1] > up[:-1] * down[1:])
        if starts.all():
            return first, up, down
        places = np.flatnonzero(starts)
        first, up, down = first[places], np.add.reduceat(up, places), np.add.reduceat(down, places)
    blocks: list[list[int]] = []
    for block in np.stack([first, up, down], axis=1).tolist():
        while blocks and block[1] * blocks[-1][2] <= blocks[-1][1] * block[2]:
            before = blocks.pop()
            block = [before[0], before[1] + block[1], before[2] + block[2]]
        blocks.append(block)
    first, up, down = np.array(blocks, dtype=np.int64).T
    return first, up, down


def min_cllr_of_points(points: OperatingPoints) -> float:
    """See `min_cllr`."""
    ratios = pav_ratios(points)
    up, down = points.bona_fide_counts, points.spoof_counts
    misses = up[up > 0] @ np.logaddexp(0, -ratios[up > 0]) / points.bona_fide
    alarms = down[down > 0] @ np.logaddexp(0, ratios[down > 0]) / points.spoof
    return float(misses + alarms) / (2 * np.log(2))


def cllr(bona_fide: ArrayLike, spoof: ArrayLike) -> float:
    """Cost of log-likelihood ratios, in bits: 0 is perfect, 1 says nothing, above 1 misleads.

    Cllr = (mean_b log2(1 + exp(-s)) + mean_s log2(1 + exp(s))) / 2. Raw logits are not ratios: calibrate first.

    Args:
        bona_fide: log-likelihood ratios (natural log), shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
    Raises:
        EvaluationError: if either class is empty or a score is not finite.
    Source:
        Brümmer and du Preez, Application-independent evaluation of speaker detection, Computer Speech and
        Language 20, 2006, equation 31.
    """
    return cllr_of_points(OperatingPoints.of(bona_fide, spoof))


def min_cllr(bona_fide: ArrayLike, spoof: ArrayLike) -> float:
    """The lowest Cllr that any rising map of the scores could reach on these very trials, in bits.

    The map is pool-adjacent-violators (PAV); what Cllr exceeds it by is lost to calibration alone.

    Raises:
        EvaluationError: if either class is empty or a score is not finite.
    Source:
        Brümmer and du Preez, Computer Speech and Language 20, 2006, section 6.
    """
    return min_cllr_of_points(OperatingPoints.of(bona_fide, spoof))


@dataclass(frozen=True)
class Reliability:
    """Said and found shares of bona fide trials in bins of the posterior; empty bins are left out."""

    said: Floats
    found: Floats
    shares: Floats  # of the trials, each class weighted by its prior

    @property
    def error(self) -> float:
        """Mean distance between said and found, weighted by the shares."""
        return float(self.shares @ np.abs(self.said - self.found))


def reliability_of_points(points: OperatingPoints, prior: float = 0.5, bins: int = 15) -> Reliability:
    """Bins of equal width of the posterior of bona fide, under a prior of spoof."""
    from scipy.special import expit, logit  # slow to import

    posterior = expit(points.thresholds - logit(prior))
    place = np.minimum((posterior * bins).astype(np.int64), bins - 1)
    up = points.bona_fide_counts * ((1 - prior) / points.bona_fide)
    weights = up + points.spoof_counts * (prior / points.spoof)
    total = np.bincount(place, weights, bins).astype(np.float64)
    filled = total > 0
    said = np.bincount(place, weights * posterior, bins)[filled] / total[filled]
    return Reliability(said, np.bincount(place, up, bins)[filled] / total[filled], total[filled])


def calibration_error(bona_fide: ArrayLike, spoof: ArrayLike, prior: float = 0.5, bins: int = 15) -> float:
    """Expected calibration error: how far the said probability of bona fide lies from the found share.

    ECE = sum over bins of w_k |said_k - found_k|, with w_k the share of trials in bin k (of equal width). The
    trials are weighted so that spoof has its prior, whatever its share in the data.

    Args:
        bona_fide: log-likelihood ratios (natural log), shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        prior: of spoof.
        bins: number of bins.
    Raises:
        EvaluationError: if either class is empty or a score is not finite.
    Source:
        Naeini, Cooper and Hauskrecht, Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015.
    """
    return reliability_of_points(OperatingPoints.of(bona_fide, spoof), prior, bins).error
