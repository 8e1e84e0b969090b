"""Two systems on the same trials: is the difference more than chance?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from veravox.evaluation.metrics.bootstrap import Interval, SortedTrials, draws
from veravox.evaluation.metrics.rates import Floats, OperatingPoints


@dataclass(frozen=True)
class McNemar:
    """Trials that only one of two systems decides rightly, and how surprising their split is.

    Source:
        McNemar, Note on the sampling error of the difference between correlated proportions, Psychometrika 12,
        1947; here in its exact binomial form.
    """

    only_first_right: int
    only_second_right: int
    p_value: float


def mcnemar(first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]) -> McNemar:
    """Exact two-sided test that two systems err equally often on the same trials.

    Args:
        first_right: whether the first system decides each trial rightly, shape (trials,).
        second_right: the same for the second.
    """
    from scipy.stats import binomtest  # slow to import

    first, second = int(np.sum(first_right & ~second_right)), int(np.sum(second_right & ~first_right))
    p_value = float(binomtest(first, first + second).pvalue) if first + second else 1.0
    return McNemar(first, second, p_value)


@dataclass(frozen=True)
class Comparison:
    """One figure of two systems on the same trials, with the interval of the difference (first minus second)."""

    names: tuple[str, str]
    metric: str
    values: tuple[float, float]
    difference: float
    interval: Interval
    p_value: float
    mcnemar: McNemar
    rounds: int
    unit: str
    lower_is_better: bool = True
    percent: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return asdict(self) | {"conclusion": self.conclusion}

    @property
    def mcnemar_sentence(self) -> str:
        """McNemar's test at the two thresholds, in one plain sentence."""
        first, second = self.mcnemar.only_first_right, self.mcnemar.only_second_right
        return (
            f"At their thresholds, {first} trials are decided rightly only by {self.names[0]} and {second} only "
            f"by {self.names[1]} (McNemar's exact test, p = {self.mcnemar.p_value:.2g})."
        )

    @property
    def conclusion(self) -> str:
        """What the test says, in one plain sentence."""
        first_better = (self.difference < 0) == self.lower_is_better
        better, worse = self.names if first_better else self.names[::-1]
        scale, places, unit = (100, 2, " points") if self.percent else (1, 4, "")
        gap = f"{scale * abs(self.difference):.{places}f}{unit}"
        low, high = (f"{scale * bound:.{places}f}" for bound in (self.interval.low, self.interval.high))
        span = f"{self.interval.confidence:.0%} interval of the difference {low} to {high}, p = {self.p_value:.2g}"
        if self.difference == 0:
            return f"{self.names[0]} and {self.names[1]} have the same {self.metric} on these trials ({span})."
        if self.interval.low <= 0 <= self.interval.high or self.p_value > 1 - self.interval.confidence:
            doubt = "but these trials do not tell it from chance"
            return f"{better} has the better {self.metric} by {gap}, {doubt} ({span})."
        return f"{better} has a better {self.metric} than {worse} by {gap}, more than chance explains ({span})."


def compare(
    first: Floats,
    second: Floats,
    is_bona_fide: NDArray[np.bool_],
    names: tuple[str, str] = ("the first system", "the second system"),
    metric: Callable[[OperatingPoints], float] = OperatingPoints.equal_error_rate,
    metric_name: str = "EER",
    lower_is_better: bool = True,
    thresholds: tuple[float, float] | None = None,
    rounds: int = 1000,
    clusters: Sequence[Any] | ArrayLike | None = None,
    unit: str = "trials",
    confidence: float = 0.95,
    seed: int = 0,
    percent: bool = True,
) -> Comparison:
    """Paired comparison: both systems see the same resampled trials in every round.

    The p-value is twice the smaller share of rounds on either side of no difference, counting the data as a round
    (Efron and Tibshirani 1993, chapter 16). McNemar's test is at each system's own EER threshold, or at
    `thresholds`.

    Args:
        first: scores, shape (trials,).
        second: scores of the other system for the same trials in the same order.
        is_bona_fide: shape (trials,).
        names: of the two systems.
        metric: from operating points to the figure.
        metric_name: what the conclusion calls it.
        lower_is_better: whether a smaller figure wins.
        thresholds: of the two systems, for McNemar's test.
        rounds: how many times to resample.
        clusters: cluster of each trial, or None.
        unit: what is resampled, in words.
        confidence: of the interval.
        seed: of the resampling.
        percent: whether the figure is a share, whose differences are told in percentage points.
    Raises:
        EvaluationError: if a class is missing or there are too few clusters.
    """
    trials = SortedTrials(first, is_bona_fide), SortedTrials(second, is_bona_fide)
    points = trials[0].points(), trials[1].points()
    values = metric(points[0]), metric(points[1])
    differences = np.array(
        [
            metric(trials[0].points(weights)) - metric(trials[1].points(weights))
            for weights in draws(rounds, is_bona_fide, clusters, seed)
        ]
    )
    if thresholds is None:
        thresholds = points[0].threshold(points[0].eer_point()), points[1].threshold(points[1].eer_point())
    right = [(scores >= t) == is_bona_fide for scores, t in zip((first, second), thresholds, strict=True)]
    below, above = int(np.sum(differences <= 0)), int(np.sum(differences >= 0))
    return Comparison(
        names=names,
        metric=metric_name,
        values=values,
        difference=values[0] - values[1],
        interval=Interval.of(differences, confidence),
        p_value=min(1.0, 2 * (min(below, above) + 1) / (rounds + 1)),
        mcnemar=mcnemar(right[0], right[1]),
        rounds=rounds,
        unit=unit,
        lower_is_better=lower_is_better,
        percent=percent,
    )
