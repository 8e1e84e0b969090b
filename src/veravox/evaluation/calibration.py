"""Logits to log-likelihood ratios with verdict thresholds: fitted on one protocol, applied to another."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from veravox.errors import EvaluationError, ScoringError
from veravox.evaluation.metrics.detection_cost import ASVSPOOF5_COST, DetectionCost
from veravox.evaluation.metrics.rates import Floats, OperatingPoints, finite_scores
from veravox.files import write_json
from veravox.tables import BONA_FIDE, Calibration, Protocol, Scores, standard_label


def are_ratios(frame: pl.DataFrame) -> bool:
    """Whether scores come with posteriors, as those of a calibrated detector or a fusion do."""
    return "p_spoof" in frame.columns and not frame["p_spoof"].null_count()


def labels_as_bona_fide(labels: ArrayLike | Sequence[str]) -> NDArray[np.bool_]:
    """Labels as booleans, True for bona fide.

    Args:
        labels: shape (trials,), as text (any spelling the protocol knows) or as booleans, True for bona fide.
            Numbers are refused: 1 is bona fide in some code and spoof in other.
    Raises:
        EvaluationError: if the labels are numbers.
        ProtocolError: for an unknown label.
    """
    marks = np.asarray(labels)
    if marks.dtype == bool:
        return marks
    if marks.dtype.kind in "iuf" and marks.size:
        raise EvaluationError(
            "labels are numbers, which mean either class in practice; pass labels == 1, or 'bonafide' and 'spoof'"
        )
    names, positions = np.unique(marks.astype(str), return_inverse=True)
    standard = np.array([standard_label(str(name)) == BONA_FIDE for name in names], dtype=bool)
    return standard[positions].reshape(marks.shape)


def two_classes(scores: ArrayLike, labels: ArrayLike | Sequence[str]) -> tuple[Floats, Floats]:
    """Split scores by label: bona fide, spoof.

    Raises:
        EvaluationError: if the lengths differ, a class is missing, or labels are numbers.
        ProtocolError: for an unknown label.
    """
    values, is_bona_fide = np.asarray(scores), labels_as_bona_fide(labels)
    if values.shape != is_bona_fide.shape or values.ndim != 1:
        raise EvaluationError(
            f"scores and labels must be two arrays of one length; got {values.shape} and {is_bona_fide.shape}"
        )
    return finite_scores(values[is_bona_fide], "bona fide"), finite_scores(values[~is_bona_fide], "spoof")


def fit_logistic(
    bona_fide: Floats, spoof: Floats, prior: float, doubt: tuple[float, float] = (0.0, 0.0), rising: bool = False
) -> Floats:
    """Weights and offset of a prior-weighted logistic regression, shape (systems + 1,).

    Args:
        bona_fide: logits about standardised, shape (trials, systems).
        spoof: the same for spoofed trials.
        prior: of spoof.
        doubt: share of each class taken as mislabelled.
        rising: keep every weight at zero or above.
    """
    from scipy.optimize import minimize  # slow to import, not needed to evaluate
    from scipy.special import expit, log_expit, logit

    shift, systems = -float(logit(prior)), bona_fide.shape[1]

    def loss(parameters: Floats) -> tuple[float, Floats]:
        value, slope = 0.0, np.zeros(systems + 1)
        for logits, sign, weight, wrong in ((bona_fide, 1, 1 - prior, doubt[0]), (spoof, -1, prior, doubt[1])):
            margins = sign * (logits @ parameters[:-1] + parameters[-1] + shift)
            value -= weight * ((1 - wrong) * log_expit(margins) + wrong * log_expit(-margins)).mean()
            pull = weight * sign * (expit(margins) - (1 - wrong)) / len(logits)
            slope += np.append(pull @ logits, pull.sum())
        return float(value), slope

    start = np.append(np.full(systems, 1 / systems), 0.0)
    bounds = [(0 if rising else None, None)] * systems + [(None, None)]
    options = {"ftol": 1e-15, "gtol": 1e-11, "maxiter": 1000}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x, dtype=np.float64)


def fit_affine(bona_fide: ArrayLike, spoof: ArrayLike, prior: float = 0.5) -> tuple[float, float]:
    """Scale and offset that turn logits into log-likelihood ratios, by prior-weighted logistic regression.

    Minimises (1 - p) mean_b log(1 + exp(-x)) + p mean_s log(1 + exp(x)), where x = scale * logit + offset + o, p
    is the prior of spoof and o = log((1 - p) / p). The scale stays positive: scores are never turned over.
    Where the classes do not overlap at all, that has no finite answer; then each class of n trials counts as
    mislabelled with chance 1 / (n + 2), as Platt does.

    Args:
        bona_fide: logits, shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        prior: of spoof.
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
    centre, spread = centre_and_spread(first, second)
    apart = first.min() >= second.max()  # one score in common leaves the best scale infinite too
    doubt = (1 / (first.size + 2), 1 / (second.size + 2)) if apart else (0.0, 0.0)
    standard = [((scores - centre) / spread)[:, None] for scores in (first, second)]
    found = fit_logistic(standard[0], standard[1], prior, doubt, rising=True)
    if found[0] <= 1e-9 or first.min() == first.max() == second.min() == second.max():
        raise EvaluationError(
            "no calibration with a positive scale fits: bona fide trials do not score higher than spoofed ones; "
            "check the polarity and the labels"
        )
    scale = float(found[0] / spread)
    return scale, float(found[1] - scale * centre)


def centre_and_spread(first: Floats, second: Floats) -> tuple[Floats, Floats]:
    """What standardises the scores of each system, both classes weighing alike: shape (systems,), or () of one.

    Args:
        first: scores of one class, shape (trials, systems) or (trials,).
        second: the same for the other class.
    """
    centre = (first.mean(axis=0) + second.mean(axis=0)) / 2
    spread = np.sqrt((np.square(first - centre).mean(axis=0) + np.square(second - centre).mean(axis=0)) / 2)
    return centre, np.where(spread > 0, spread, 1.0)


def thresholds_by_rule(
    bona_fide: Floats,
    spoof: Floats,
    rule: str = "verdict",
    cost: DetectionCost = ASVSPOOF5_COST,
    max_bona_fide_below: float = 0.01,
    max_spoof_above: float = 0.05,
) -> tuple[float, float, str]:
    """Lower and upper threshold of the three verdicts, and their rule in words.

    Args:
        bona_fide: log-likelihood ratios, shape (trials,).
        spoof: the same for spoofed trials.
        rule: `verdict`: the lower one is the highest score with at most `max_bona_fide_below` of the bona fide
            below it, the upper one the lowest with at most `max_spoof_above` of the spoof from it on, raised to
            the lower one where it falls below it. `eer` and `cost`: one threshold without uncertain verdicts, at
            the equal error rate, or where Bayes' rule turns under the cost.
        cost: for the rule `cost`.
        max_bona_fide_below: for the rule `verdict`.
        max_spoof_above: for the rule `verdict`.
    Raises:
        EvaluationError: for an unknown rule.
    """
    for share in (max_bona_fide_below, max_spoof_above):
        if not 0 <= share < 1:
            raise EvaluationError(f"a share of trials lies from 0 to below 1 (0.01 is one percent); got {share}")
    points = OperatingPoints.of(bona_fide, spoof)
    if rule == "eer":
        at = points.threshold(points.eer_point())
        return at, at, "one threshold, at the equal error rate"
    if rule == "cost":
        words = f"P(spoof) {cost.p_spoof:g}, a miss costs {cost.miss:g}, a false alarm {cost.false_alarm:g}"
        return cost.threshold, cost.threshold, f"one threshold, where Bayes' rule turns: {words}"
    if rule != "verdict":
        raise EvaluationError(f"unknown rule for thresholds {rule!r}; use 'verdict', 'eer' or 'cost'")
    lower = points.highest_with_misses(max_bona_fide_below)
    upper = points.lowest_with_false_alarms(max_spoof_above)
    words = (
        f"spoof below the highest score with at most {max_bona_fide_below:.2%} of the bona fide below it; "
        f"bonafide from the lowest score with at most {max_spoof_above:.2%} of the spoof at or above it"
    )
    return (lower, upper, words) if upper >= lower else (lower, lower, words + ", or from the lower one if higher")


def fit_calibration(
    logits: ArrayLike,
    labels: ArrayLike | Sequence[str],
    prior: float = 0.5,
    policy: str = "",
    fitted_on: str = "",
    max_bona_fide_below: float = 0.01,
    max_spoof_above: float = 0.05,
    rule: str = "verdict",
    cost: DetectionCost = ASVSPOOF5_COST,
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
        rule: `verdict`, `eer` or `cost` (see `thresholds_by_rule`).
        cost: for the rule `cost`.
    Raises:
        EvaluationError: if a class is missing, a logit is not finite, or only a negative scale would fit.
        ProtocolError: for an unknown label.
    """
    bona_fide, spoof = two_classes(logits, labels)
    scale, offset = fit_affine(bona_fide, spoof, prior)
    lower, upper, words = thresholds_by_rule(
        scale * bona_fide + offset, scale * spoof + offset, rule, cost, max_bona_fide_below, max_spoof_above
    )
    return Calibration(scale, offset, prior, lower, upper, policy, fitted_on, words)


JOINED = (1, 2, 4, 8)
"""Trials of one voice that are joined into one, to see how evidence grows with speech."""

GROWTHS = tuple(round(0.05 * step, 2) for step in range(19))


def fit_grown_calibration(
    logits: ArrayLike,
    labels: ArrayLike | Sequence[str],
    speech_s: ArrayLike,
    voices: Sequence[Any],
    prior: float = 0.5,
    policy: str = "",
    fitted_on: str = "",
    max_bona_fide_below: float = 0.01,
    max_spoof_above: float = 0.05,
    seed: int = 0,
) -> Calibration:
    """A calibration whose evidence grows with speech, with thresholds that hold at every length it was tried at.

    Trials of one voice are joined by 1, 2, 4 and 8: the logit of the joined is the mean of theirs, weighted by
    speech. At each growth scale and offset are fitted to single trials; the growth is the one with the least
    prior-weighted cross-entropy in the mean over the numbers joined. Each threshold is the most careful of those
    that single and joined trials ask for.

    Args:
        logits: shape (trials,), of a detector that never met their sources; higher is more bona fide.
        labels: shape (trials,), as text or booleans (True for bona fide).
        speech_s: shape (trials,), seconds of speech in each.
        voices: of each trial; like values share source, speaker and system, and so a label.
        prior, policy, fitted_on, max_bona_fide_below, max_spoof_above: as for `fit_calibration`.
        seed: of which trials are joined.
    Raises:
        EvaluationError: as `fit_calibration`.
    """
    values, real = np.asarray(logits, dtype=np.float64), labels_as_bona_fide(labels)
    seconds = np.asarray(speech_s, dtype=np.float64)
    two_classes(values, real)
    reference = float(np.clip(np.median(seconds), 1.0, 32.0))
    sets = [joined(values, real, seconds, voices, count, seed) for count in JOINED]
    sets = [one for index, one in enumerate(sets) if not index or min(one[1].sum(), (~one[1]).sum()) >= 20]

    def ratios(growth: float, scale: float, offset: float) -> list[Floats]:
        template = Calibration(scale, offset, growth=growth, reference_s=reference)
        return [np.array([template.apply(x, t) for x, t in zip(one[0], one[2], strict=True)]) for one in sets]

    def fitted(growth: float) -> tuple[float, float, float]:
        grown = ratios(growth, 1.0, 0.0)
        scale, offset = fit_affine(grown[0][sets[0][1]], grown[0][~sets[0][1]], prior)
        losses = [
            _cross_entropy(scale * each + offset, one[1], prior) for each, one in zip(grown, sets, strict=True)
        ]
        return float(np.mean(losses)), scale, offset

    tried = {growth: fitted(growth) for growth in GROWTHS}
    growth = min(tried, key=lambda each: tried[each][0])
    _, scale, offset = tried[growth]
    lowers, uppers = [], []
    for each, one in zip(ratios(growth, scale, offset), sets, strict=True):
        points = OperatingPoints.of(each[one[1]], each[~one[1]])
        lowers.append(points.highest_with_misses(max_bona_fide_below))
        uppers.append(points.lowest_with_false_alarms(max_spoof_above))
    lower, upper = min(lowers), max(*uppers, min(lowers))
    words = (
        f"on sources that the detector never met, alone and with up to {JOINED[len(sets) - 1]} times the speech: "
        f"at most {max_bona_fide_below:.2%} of the bona fide called spoof, "
        f"at most {max_spoof_above:.2%} of the spoof called bonafide"
    )
    return Calibration(
        scale, offset, prior, lower, upper, policy, fitted_on, words, growth=growth, reference_s=reference
    )


def joined(
    logits: Floats, real: NDArray[np.bool_], speech_s: Floats, voices: Sequence[Any], count: int, seed: int = 0
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Logits, labels and seconds of `count` trials of one voice taken as one recording; leftovers are left out."""
    rng = np.random.default_rng((seed, count))
    _, membership = np.unique(np.asarray(voices).astype(str), return_inverse=True)
    order = rng.permutation(len(logits))
    order = order[np.argsort(membership[order], kind="stable")]
    rows = []
    for members in np.split(order, np.flatnonzero(np.diff(membership[order])) + 1):
        for first in range(0, len(members) - count + 1, count):
            chosen = members[first : first + count]
            weights = np.maximum(speech_s[chosen], 1e-3)
            rows.append((np.average(logits[chosen], weights=weights), real[chosen[0]], speech_s[chosen].sum()))
    found = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return found[:, 0], found[:, 1] > 0.5, found[:, 2]


def _cross_entropy(ratios: Floats, real: NDArray[np.bool_], prior: float) -> float:
    from scipy.special import log_expit, logit  # slow to import

    shift = -float(logit(prior))
    mean_real = -log_expit(ratios[real] + shift).mean()
    mean_spoof = -log_expit(-ratios[~real] - shift).mean()
    return float((1 - prior) * mean_real + prior * mean_spoof)


def cross_calibrate(
    scores: ArrayLike,
    labels: ArrayLike | Sequence[str],
    folds: int = 5,
    prior: float = 0.5,
    clusters: Sequence[Any] | None = None,
    seed: int = 0,
) -> Floats:
    """Log-likelihood ratios of trials, each from an affine fit on the folds that it is not in, shape (trials,).

    Args:
        scores: shape (trials,); higher is more bona fide.
        labels: shape (trials,), as text or booleans (True for bona fide).
        folds: number of folds; each holds its share of both classes.
        prior: of spoof.
        clusters: of each trial; whole clusters go into one fold.
        seed: of the folds.
    Raises:
        EvaluationError: if there are too few trials or clusters for the folds.
    """
    values, is_bona_fide = np.asarray(scores, dtype=np.float64), labels_as_bona_fide(labels)
    two_classes(values, is_bona_fide)
    fold = folds_of(is_bona_fide, folds, clusters, seed)
    ratios = np.empty_like(values)
    for index in range(folds):
        inside, rest = fold == index, fold != index
        scale, offset = fit_affine(values[rest & is_bona_fide], values[rest & ~is_bona_fide], prior)
        ratios[inside] = scale * values[inside] + offset
    return ratios


def folds_of(
    is_bona_fide: NDArray[np.bool_], folds: int, clusters: Sequence[Any] | None = None, seed: int = 0
) -> NDArray[np.intp]:
    """The fold of each trial, shape (trials,); like clusters are dealt out evenly.

    Raises:
        EvaluationError: if some fold leaves no trial of a class outside.
    """
    rng = np.random.default_rng(seed)
    if clusters is None:
        names, membership = np.arange(len(is_bona_fide)), np.arange(len(is_bona_fide))
    else:
        names, membership = np.unique(np.asarray(clusters).astype(str), return_inverse=True)
    mixed = np.bincount(membership, is_bona_fide) * 2 - np.bincount(membership)
    order = np.lexsort((rng.random(len(names)), np.sign(mixed)))  # like clusters go to different folds
    fold_of = np.empty(len(names), dtype=np.intp)
    fold_of[order] = np.arange(len(names)) % folds
    fold = fold_of[membership]
    for index in range(folds):
        rest = is_bona_fide[fold != index]
        if not 2 <= folds <= len(names) or rest.all() or not rest.any():
            raise EvaluationError(
                f"these trials are too few for {folds} folds with both classes outside each; use fewer, or 0"
            )
    return fold


SKETCH_SIZE = 256


def sketch_of(utterance_ids: Iterable[str]) -> tuple[str, ...]:
    """A short fingerprint of a set of trials: its smallest hashes, by which most overlaps are found again."""
    return tuple(sorted(_hashes(utterance_ids))[:SKETCH_SIZE])


def _hashes(names: Iterable[str]) -> set[str]:
    return {blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest() for name in names}


def check_disjoint(sketch: Sequence[str], utterance_ids: Iterable[str], fitted_on: str) -> None:
    """Check that trials to report on are not those of a fit, by its fingerprint.

    Raises:
        EvaluationError: naming the share that is the same.
    """
    shared = len(_hashes(utterance_ids) & set(sketch))
    if shared:
        raise EvaluationError(
            f"about {shared / len(sketch):.0%} of the trials that the calibration was fitted on ({fitted_on}) are "
            "among these; report on other trials, or cross-validate (--cross-validate 5)"
        )


@dataclass(frozen=True)
class FittedCalibration:
    """A calibration with a fingerprint of the trials it was fitted on, so that it is not judged on them.

    Args:
        calibration: from the scores of the fit to log-likelihood ratios.
        trials: fingerprint of the trials of the fit.
        fitted_on_llr: whether the scores of the fit were log-likelihood ratios already, not raw logits.
    """

    calibration: Calibration
    trials: tuple[str, ...] = ()
    fitted_on_llr: bool = False

    def after(self, own: Calibration | None) -> Calibration:
        """What this fit makes of a detector's raw logits, given the detector's own calibration.

        Raises:
            EvaluationError: if it was fitted on calibrated scores, and the detector has no calibration.
        """
        if not self.fitted_on_llr:
            return self.calibration
        if own is None:
            raise EvaluationError(
                "the calibration was fitted on scores of a calibrated detector, and this one has none; "
                "fit another on scores of this detector"
            )
        found = self.calibration
        return replace(found, scale=found.scale * own.scale, offset=found.scale * own.offset + found.offset)

    def check_disjoint(self, utterance_ids: Iterable[str]) -> None:
        """Check that trials to report on are not those of the fit.

        Raises:
            EvaluationError: naming the share that is the same.
        """
        check_disjoint(self.trials, utterance_ids, self.calibration.fitted_on)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON."""
        content = {"calibration": self.calibration.to_dict(), "of_ratios": self.fitted_on_llr}
        write_json(path, {"schema": 1, **content, "trials": list(self.trials)})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> FittedCalibration:
        """Read what `write` wrote, or a bare calibration.

        Raises:
            EvaluationError: if the file is not a calibration.
        """
        try:
            with open(path, encoding="utf-8") as file:
                data = json.load(file)
            inner = data.get("calibration", data)
            trials = tuple(map(str, data.get("trials", ()))) if "calibration" in data else ()
            return cls(Calibration.from_dict(inner), trials, bool(data.get("of_ratios", False)))
        except (OSError, ValueError, AttributeError, TypeError, ScoringError) as error:
            raise EvaluationError(f"{str(path)!r} is not a calibration of veravox: {error}") from error


def fit_on(scores: Scores, protocol: Protocol, **options: Any) -> FittedCalibration:
    """Fit on the scores of a labelled protocol; the trials are remembered.

    Args:
        scores: raw scores of every trial.
        protocol: with labels.
        options: of `fit_calibration`.
    Raises:
        ScoringError: if a trial has no score, or a score has no trial.
        ProtocolError: if a trial has no label.
        EvaluationError: if no calibration fits.
    """
    protocol.require("label")
    joined = scores.align(protocol)
    options.setdefault("fitted_on", f"{Path(protocol.name).name}, {len(joined)} trials")
    found = fit_calibration(joined["score"].to_numpy(), joined["label"].to_numpy(), **options)
    return FittedCalibration(found, sketch_of(protocol.utterance_ids), are_ratios(scores.frame))
