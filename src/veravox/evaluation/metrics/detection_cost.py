"""The detection cost of a countermeasure that decides alone: minimum and actual DCF."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from veravox.errors import EvaluationError
from veravox.evaluation.metrics.rates import Floats, OperatingPoints


@dataclass(frozen=True)
class DetectionCost:
    """Prior of spoof and the two costs; the defaults are those of ASVspoof 5, track 1.

    Args:
        p_spoof: prior probability of spoof.
        miss: cost of calling a bona fide trial spoof.
        false_alarm: cost of calling a spoofed trial bona fide.
    Source:
        Wang et al., ASVspoof 5: crowdsourced speech data, deepfakes, and adversarial attacks at scale, ASVspoof
        Workshop 2024, section 5.
    """

    p_spoof: float = 0.05
    miss: float = 1.0
    false_alarm: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.p_spoof < 1 or not 0 < self.miss < math.inf or not 0 < self.false_alarm < math.inf:
            raise EvaluationError(f"a detection cost needs 0 < p_spoof < 1 and positive, finite costs; got {self}")

    @property
    def weights(self) -> tuple[float, float]:
        """Weights of the miss rate and of the false alarm rate, divided by the smaller of the two."""
        miss, alarm = self.miss * (1 - self.p_spoof), self.false_alarm * self.p_spoof
        return miss / min(miss, alarm), alarm / min(miss, alarm)

    @property
    def threshold(self) -> float:
        """The log-likelihood ratio from which on `bona fide` is the cheaper call."""
        return math.log(self.false_alarm * self.p_spoof / (self.miss * (1 - self.p_spoof)))

    def over(self, points: OperatingPoints) -> Floats:
        """Normalised cost at every point, shape (K + 1,)."""
        miss, alarm = self.weights
        cost: Floats = (miss / points.bona_fide) * points.misses.astype(np.float64)
        cost += (alarm / points.spoof) * points.false_alarms
        return cost

    def minimum(self, points: OperatingPoints) -> float:
        """See `min_dcf`."""
        return float(self.over(points).min())

    def minimum_threshold(self, points: OperatingPoints) -> float:
        """The lowest threshold that reaches the minimum on these trials."""
        return points.threshold(int(np.argmin(self.over(points))))

    def actual(self, points: OperatingPoints) -> float:
        """See `act_dcf`; the thresholds of the points are log-likelihood ratios."""
        found = points.decisions(self.threshold)
        miss, alarm = self.weights
        return miss * found.miss_rate + alarm * found.false_alarm_rate


ASVSPOOF5_COST = DetectionCost()


def min_dcf(bona_fide: ArrayLike, spoof: ArrayLike, cost: DetectionCost = ASVSPOOF5_COST) -> float:
    """The lowest normalised detection cost that any one threshold reaches on these trials.

    min over t of (C_miss (1 - p) Pmiss(t) + C_fa p Pfa(t)) / min(C_miss (1 - p), C_fa p).

    Args:
        bona_fide: scores, shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        cost: prior and costs.
    Returns:
        In [0, 1]; 1 is what the better of two constant answers costs.
    Raises:
        EvaluationError: if either class is empty or a score is not finite.
    Source:
        NIST Speaker Recognition Evaluation plans (normalised cost); Wang et al., ASVspoof 5, 2024, equation 1.
    """
    return cost.minimum(OperatingPoints.of(bona_fide, spoof))


def act_dcf(bona_fide: ArrayLike, spoof: ArrayLike, cost: DetectionCost = ASVSPOOF5_COST) -> float:
    """The normalised detection cost at the threshold that Bayes' rule sets for log-likelihood ratios.

    The cost of `min_dcf` at t = log(C_fa p / (C_miss (1 - p))). Raw logits are not ratios: calibrate first.

    Args:
        bona_fide: log-likelihood ratios (natural log), shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        cost: prior and costs.
    Raises:
        EvaluationError: if either class is empty or a score is not finite.
    Source:
        Brümmer and du Preez, Computer Speech and Language 20, 2006, section 3; Wang et al., ASVspoof 5, 2024.
    """
    return cost.actual(OperatingPoints.of(bona_fide, spoof))
