"""Logits to log-likelihood ratios with verdict thresholds: fitted on one protocol, applied to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import expit, log_expit, logit

from veravox.errors import EvaluationError
from veravox.evaluation.rates import Floats, OperatingPoints, finite_scores
from veravox.tables import BONA_FIDE, Calibration, standard_label


def two_classes(scores: ArrayLike, labels: ArrayLike | Sequence[str]) -> tuple[Floats, Floats]:
    """Split scores by label: bona fide, spoof.

    Args:
        scores: shape (trials,).
        labels: shape (trials,), as text (any spelling the protocol knows) or as booleans, True for bona fide.
            Whole numbers are refused: 1 is bona fide in some code and spoof in other.
    Raises:
        EvaluationError: if the lengths differ or labels are numbers.
        ProtocolError: for an unknown label.
    """
    values, marks = np.asarray(scores), np.asarray(labels)
    if values.shape != marks.shape or values.ndim != 1:
        raise EvaluationError(
            f"scores and labels must be two arrays of one length; got {values.shape}, {marks.shape}"
        )
    if marks.dtype == bool:
        is_bona_fide = marks
    elif marks.dtype.kind in "iuf":
        raise EvaluationError(
            "labels are numbers, which mean either class in practice; pass labels == 1 or 'bonafide'"
        )
    else:
        names, positions = np.unique(marks.astype(str), return_inverse=True)
        standard = np.array([standard_label(str(name)) for name in names])
        is_bona_fide = standard[positions] == BONA_FIDE
    return finite_scores(values[is_bona_fide], "bona fide"), finite_scores(values[~is_bona_fide], "spoof")


def _fit(bona_fide: Floats, spoof: Floats, shift: float, prior: float, doubt: tuple[float, float]) -> Floats:
    """Scale and offset of standardised logits; `doubt` is the share of each class taken as mislabelled."""

    def loss(parameters: Floats) -> tuple[float, Floats]:
        value, slope = 0.0, np.zeros(2)
        for logits, sign, weight, wrong in ((bona_fide, 1, 1 - prior, doubt[0]), (spoof, -1, prior, doubt[1])):
            margins = sign * (parameters[0] * logits + parameters[1] + shift)
            value -= weight * ((1 - wrong) * log_expit(margins) + wrong * log_expit(-margins)).mean()
            pull = weight * sign * (expit(margins) - (1 - wrong)) / logits.size
            slope += (pull @ logits, pull.sum())
        return float(value), slope

    options = {"ftol": 1e-15, "gtol": 1e-11, "maxiter": 1000}
    found = minimize(
        loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (None, None)], options=options
    )
    return np.asarray(found.x, dtype=np.float64)


def fit_affine(bona_fide: ArrayLike, spoof: ArrayLike, prior: float = 0.5) -> tuple[float, float]:
    """Scale and offset that turn logits into log-likelihood ratios, by prior-weighted logistic regression.

    Minimises (1 - p) mean_b log(1 + exp(-x)) + p mean_s log(1 + exp(x)), where x = scale * logit + offset + o, p
    is the prior of spoof and o = log((1 - p) / p). The scale stays positive: scores are never turned over.
    Where the classes do not overlap at all, that has no finite answer; then each class of n trials counts as
    mislabelled with chance 1 / (n + 2), as Platt does.

    Returns:
        (scale, offset), offset in nats.
    Raises:
        EvaluationError: if only a negative scale would fit, a class is missing, or a logit is not finite.
    Source:
        Brümmer and du Preez, Application-independent evaluation of speaker detection, Computer Speech and
        Language 20, 2006, section 5; Platt, Probabilistic outputs for support vector machines, 1999, section 2.2.
    """
    if not 0 < prior < 1:
        raise EvaluationError(f"the prior of spoof must lie between 0 and 1; got {prior}")
    first, second = finite_scores(bona_fide, "bona fide"), finite_scores(spoof, "spoof")
    centre, spread = _centre_and_spread(first, second)
    apart = first.min() > second.max()
    doubt = (1 / (first.size + 2), 1 / (second.size + 2)) if apart else (0.0, 0.0)
    found = _fit((first - centre) / spread, (second - centre) / spread, -float(logit(prior)), prior, doubt)
    if found[0] <= 1e-9:
        raise EvaluationError(
            "no calibration with a positive scale fits: bona fide trials do not score higher than spoofed ones; "
            "check the polarity and the labels"
        )
    scale = float(found[0] / spread)
    return scale, float(found[1] - scale * centre)


def _centre_and_spread(first: Floats, second: Floats) -> tuple[float, float]:
    centre = float(first.mean() + second.mean()) / 2
    spread = float(np.sqrt((np.square(first - centre).mean() + np.square(second - centre).mean()) / 2))
    return centre, spread or 1.0


def verdict_thresholds(
    bona_fide: Floats, spoof: Floats, max_bona_fide_below: float = 0.01, max_spoof_above: float = 0.05
) -> tuple[float, float, str]:
    """Lower and upper threshold of the three verdicts, and their rule in words.

    The lower one is the highest score with at most `max_bona_fide_below` of the bona fide below it; the upper one
    the lowest with at most `max_spoof_above` of the spoof at or above it, raised to the lower one where it falls
    below it.
    """
    points = OperatingPoints.of(bona_fide, spoof)
    lower = points.highest_with_misses(max_bona_fide_below)
    upper = points.lowest_with_false_alarms(max_spoof_above)
    rule = (
        f"spoof below the highest score with at most {max_bona_fide_below:.2%} of the bona fide below it; "
        f"bonafide from the lowest score with at most {max_spoof_above:.2%} of the spoof at or above it"
    )
    return (
        (lower, upper, rule)
        if upper >= lower
        else (lower, lower, rule + ", or from the lower one if that is higher")
    )


def fit_calibration(
    logits: ArrayLike,
    labels: ArrayLike | Sequence[str],
    prior: float = 0.5,
    policy: str = "",
    fitted_on: str = "",
    max_bona_fide_below: float = 0.01,
    max_spoof_above: float = 0.05,
) -> Calibration:
    """The affine calibration of raw logits, with its verdict thresholds.

    Args:
        logits: shape (trials,); higher is more bona fide.
        labels: shape (trials,), as text or booleans (True for bona fide).
        prior: of spoof, for the fit's weighting and later for `p_spoof`.
        policy: the window policy the logits were made under.
        fitted_on: the trials, in words.
        max_bona_fide_below: share of these bona fide trials that may get the verdict `spoof`.
        max_spoof_above: share of these spoofed trials that may get the verdict `bonafide`.
    Raises:
        EvaluationError: if a class is missing, a logit is not finite, or only a negative scale would fit.
        ProtocolError: for an unknown label.
    """
    bona_fide, spoof = two_classes(logits, labels)
    scale, offset = fit_affine(bona_fide, spoof, prior)
    lower, upper, rule = verdict_thresholds(
        scale * bona_fide + offset, scale * spoof + offset, max_bona_fide_below, max_spoof_above
    )
    return Calibration(scale, offset, prior, lower, upper, policy, fitted_on, rule)
