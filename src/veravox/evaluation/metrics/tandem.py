"""A countermeasure in front of speaker verification (ASV): t-DCF, t-EER, and a-DCF for one joint score."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from veravox.errors import EvaluationError
from veravox.evaluation.metrics.rates import Floats, OperatingPoints, finite_scores

TandemForm = Literal["legacy", "constrained"]
AsvPoint = Literal["counted", "official"]


@dataclass(frozen=True)
class AsvRates:
    """Error rates of a speaker verification system at one fixed threshold.

    Args:
        miss: share of targets rejected.
        false_alarm: share of non-targets accepted.
        spoof_accepted: share of spoofed trials accepted.
        threshold: from which score on it accepts.
    """

    miss: float
    false_alarm: float
    spoof_accepted: float
    threshold: float

    @classmethod
    def at_eer(cls, target: ArrayLike, non_target: ArrayLike, spoof: ArrayLike) -> AsvRates:
        """The rates at the threshold where targets and non-targets are confused equally often.

        Raises:
            EvaluationError: if a class is empty or a score is not finite.
        """
        points = OperatingPoints.of(target, non_target)
        threshold = points.threshold(points.eer_point())
        found = points.decisions(threshold)
        spoofed = finite_scores(spoof, "spoofed ASV")
        return cls(found.miss_rate, found.false_alarm_rate, float(np.mean(spoofed >= threshold)), threshold)

    @classmethod
    def at_official_eer(cls, target: ArrayLike, non_target: ArrayLike, spoof: ArrayLike) -> AsvRates:
        """The rates as the evaluation packages of ASVspoof 2019, 2021 and 5 count them.

        Their threshold is the last score that the EER point rejects, not the next above it, and a trial with that
        very score is accepted: one target or non-target more than `at_eer`, and all spoof between the two scores.

        Raises:
            EvaluationError: if a class is empty or a score is not finite.
        """
        targets, others = finite_scores(target, "target ASV"), finite_scores(non_target, "non-target ASV")
        spoofed = finite_scores(spoof, "spoofed ASV")
        both = np.concatenate((targets, others))
        order = np.argsort(both, kind="stable")  # of one score, targets are rejected first
        rejected = np.append(0, np.cumsum(order < len(targets)))
        accepted = len(others) - (np.arange(len(both) + 1) - rejected)
        last = int(np.argmin(np.abs(rejected / len(targets) - accepted / len(others))))
        threshold = float(both[order[last - 1]]) if last else float(both.min()) - 0.001
        missed, passed = float(np.mean(targets < threshold)), float(np.mean(others >= threshold))
        return cls(missed, passed, float(np.mean(spoofed >= threshold)), threshold)


@dataclass(frozen=True)
class TandemCost:
    """Priors and costs of the tandem of countermeasure and ASV; the defaults are those of ASVspoof 2019 and 2021.

    Args:
        p_spoof: prior of a spoofed trial.
        p_target: prior of a target; the rest are non-targets.
        miss: cost of rejecting a target.
        false_alarm: cost of accepting a non-target.
        spoof_accepted: cost of accepting a spoofed trial.
    Source:
        Todisco et al., ASVspoof 2019, Interspeech 2019, section 4; Yamagishi et al., ASVspoof 2021, 2021,
        section 3.
    """

    p_spoof: float = 0.05
    p_target: float = 0.9405
    miss: float = 1.0
    false_alarm: float = 10.0
    spoof_accepted: float = 10.0

    def __post_init__(self) -> None:
        priors = self.p_spoof > 0 and self.p_target > 0 and self.p_non_target >= 0
        if not priors or min(self.miss, self.false_alarm, self.spoof_accepted) <= 0:
            raise EvaluationError(f"a tandem cost needs priors that add up to one and positive costs; got {self}")

    @property
    def p_non_target(self) -> float:
        """Prior of a non-target."""
        return 1 - self.p_spoof - self.p_target

    def weights(self, asv: AsvRates, form: TandemForm) -> tuple[float, float, float]:
        """Constant, weight of the miss rate, weight of the false alarm rate; not yet normalised.

        Raises:
            EvaluationError: for an unknown form, or an ASV so poor that a weight is not positive.
        """
        asv_alone = self.p_target * self.miss * asv.miss + self.p_non_target * self.false_alarm * asv.false_alarm
        if form not in ("legacy", "constrained"):
            raise EvaluationError(f"unknown form of t-DCF {form!r}; use 'legacy' or 'constrained'")
        constant = asv_alone if form == "constrained" else 0.0
        miss = self.p_target * self.miss - asv_alone
        alarm = self.spoof_accepted * self.p_spoof * asv.spoof_accepted
        if miss <= 0 or alarm <= 0:
            raise EvaluationError(
                f"the t-DCF is undefined for this ASV: its weights are {miss:.4g} (misses) and {alarm:.4g} "
                "(spoof); check the ASV scores and their keys"
            )
        return constant, miss, alarm

    def over(self, points: OperatingPoints, asv: AsvRates, form: TandemForm) -> Floats:
        """Normalised cost at every threshold of the countermeasure, shape (K + 1,)."""
        constant, miss, alarm = self.weights(asv, form)
        cost = constant + miss * points.miss_rates + alarm * points.false_alarm_rates
        return cost / (constant + min(miss, alarm))

    def minimum(self, points: OperatingPoints, asv: AsvRates, form: TandemForm) -> float:
        """See `min_tdcf`."""
        return float(self.over(points, asv, form).min())


@dataclass(frozen=True, eq=False)
class AsvScores:
    """Scores of a speaker verification system, by kind of trial; higher is more the target."""

    target: Floats
    non_target: Floats
    spoof: Floats

    @cached_property
    def points(self) -> OperatingPoints:
        """Operating points of targets against non-targets."""
        return OperatingPoints.of(self.target, self.non_target)

    @cached_property
    def rates(self) -> AsvRates:
        """The error rates at the equal error rate."""
        return AsvRates.at_eer(self.target, self.non_target, self.spoof)

    @cached_property
    def official_rates(self) -> AsvRates:
        """The same as the evaluation packages of ASVspoof count them."""
        return AsvRates.at_official_eer(self.target, self.non_target, self.spoof)

    def rates_at(self, point: AsvPoint) -> AsvRates:
        """The error rates at the EER: `counted` by its threshold, or `official`.

        Raises:
            EvaluationError: for an unknown point.
        """
        if point not in ("counted", "official"):
            raise EvaluationError(f"unknown operating point of the ASV {point!r}; use 'counted' or 'official'")
        return self.rates if point == "counted" else self.official_rates

    @property
    def eer(self) -> float:
        """Equal error rate of targets against non-targets."""
        return self.points.equal_error_rate()

    @cached_property
    def spoof_accepted(self) -> Floats:
        """Share of spoofed trials accepted at each of the points, shape (K + 1,)."""
        spoofed = np.sort(finite_scores(self.spoof, "spoofed ASV"))
        thresholds = np.append(self.points.thresholds, np.inf)
        return 1 - np.searchsorted(spoofed, thresholds, side="left") / spoofed.size


ASVSPOOF_TANDEM_COST = TandemCost()


def min_tdcf(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    asv: AsvRates,
    cost: TandemCost = ASVSPOOF_TANDEM_COST,
    form: TandemForm = "legacy",
) -> float:
    """Lowest normalised tandem detection cost over the thresholds of the countermeasure, for one fixed ASV.

    `legacy` (2019): min over t of (C1 Pmiss(t) + C2 Pfa(t)) / min(C1, C2), with C1 = P_tar (C_miss - C_miss
    Pmiss_asv) - P_non C_fa Pfa_asv and C2 = C_fa_spoof P_spoof Pspoof_asv.
    `constrained` (2021): min over t of (C0 + C1 Pmiss(t) + C2 Pfa(t)) / (C0 + min(C1, C2)), with C0 = P_tar C_miss
    Pmiss_asv + P_non C_fa Pfa_asv and C1 = P_tar C_miss - C0; it does not fall to 0, as the ASV errs too.

    Args:
        bona_fide: scores of the countermeasure, shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        asv: error rates of the ASV, usually at its EER.
        cost: priors and costs.
        form: which of the two.
    Raises:
        EvaluationError: if a class is empty, a score is not finite, or the ASV is too poor for the form.
    Source:
        Kinnunen et al., t-DCF, Odyssey 2018, equations 10 to 12 (legacy); Kinnunen et al., Tandem assessment of
        spoofing countermeasures and automatic speaker verification: fundamentals, TASLP 28, 2020 (constrained).
    """
    return cost.minimum(OperatingPoints.of(bona_fide, spoof), asv, form)


def t_eer(
    bona_fide: ArrayLike,
    spoof: ArrayLike,
    asv_target: ArrayLike,
    asv_non_target: ArrayLike,
    asv_spoof: ArrayLike,
) -> float:
    """Concurrent tandem equal error rate: one error rate for targets missed, non-targets and spoof accepted alike.

    With the two systems deciding independently, a tandem at thresholds (t, u) has
    Pmiss = Pm_asv(u) + (1 - Pm_asv(u)) Pm(t), Pnon = (1 - Pm(t)) Pfa_asv(u) and Pspoof = Pfa(t) Pspoof_asv(u).
    For each ASV threshold u at which Pmiss and Pnon cross, t has the smallest Pm(t) with Pmiss >= Pnon; of all
    these pairs (t, u) the one with the smallest |Pspoof - Pnon| gives the mean of the three rates. The package of
    ASVspoof 5 gives one of them; see `official_t_eer`.

    Args:
        bona_fide: scores of the countermeasure, shape (trials,); higher is more bona fide.
        spoof: the same for spoofed trials.
        asv_target: scores of the ASV for targets; higher is more the target.
        asv_non_target: the same for non-targets.
        asv_spoof: the same for spoofed trials.
    Returns:
        A fraction in [0, 1].
    Raises:
        EvaluationError: if a class is empty or a score is not finite.
    Source:
        Kinnunen et al., t-EER: parameter-free tandem evaluation of countermeasures and biometric comparators,
        TPAMI 45, 2023.
    """
    scores = AsvScores(*(np.asarray(kind, dtype=np.float64) for kind in (asv_target, asv_non_target, asv_spoof)))
    return t_eer_of_points(OperatingPoints.of(bona_fide, spoof), scores)


def t_eer_of_points(points: OperatingPoints, scores: AsvScores) -> float:
    """See `t_eer`."""
    asv, accepted = scores.points, scores.spoof_accepted
    # Pmiss reaches Pnon once the countermeasure's own miss rate reaches this; below 0 they never cross.
    wanted = (asv.false_alarm_rates - asv.miss_rates) / (1 - asv.miss_rates + asv.false_alarm_rates + 1e-300)
    crossing = np.flatnonzero(asv.false_alarm_rates >= asv.miss_rates)
    first = np.searchsorted(points.miss_rates, wanted[crossing] - 1e-12, side="left")
    last = np.searchsorted(points.miss_rates, points.miss_rates[first], side="right") - 1
    passed = 1 - points.miss_rates[first]
    miss = 1 - (1 - asv.miss_rates[crossing]) * passed
    non_target = passed * asv.false_alarm_rates[crossing]
    # Between `first` and `last` only the false alarms change: take the two points around Pspoof = Pnon.
    equal = non_target / np.maximum(accepted[crossing], 1e-300)
    after = np.searchsorted(-points.false_alarm_rates, -equal, side="left")
    around = np.stack([np.clip(after - 1, first, last), np.clip(after, first, last)])  # (2, U)
    spoof_accepted = points.false_alarm_rates[around] * accepted[crossing]
    best = np.unravel_index(np.argmin(np.abs(spoof_accepted - non_target)), around.shape)
    return float(miss[best[1]] + non_target[best[1]] + spoof_accepted[best]) / 3


@dataclass(frozen=True)
class JointCost:
    """Priors and costs of a system that gives one score for "this speaker, and really speaking".

    Source:
        Shim et al., a-DCF, Odyssey 2024, table 1 (a-DCF 1).
    """

    p_spoof: float = 0.05
    p_non_target: float = 0.05
    miss: float = 1.0
    false_alarm: float = 10.0
    spoof_accepted: float = 20.0

    def __post_init__(self) -> None:
        priors = self.p_spoof >= 0 and self.p_non_target >= 0 and self.p_spoof + self.p_non_target < 1
        if not priors or min(self.miss, self.false_alarm, self.spoof_accepted) <= 0:
            raise EvaluationError(f"an a-DCF needs priors below one in all and positive costs; got {self}")


DEFAULT_JOINT_COST = JointCost()


def a_dcf(
    target: ArrayLike, non_target: ArrayLike, spoof: ArrayLike, cost: JointCost = DEFAULT_JOINT_COST
) -> float:
    """Lowest normalised cost of one joint score against non-targets and spoof at once, whatever the architecture.

    min over t of (C_miss P_tar Pmiss(t) + C_fa P_non Pfa_non(t) + C_spoof P_spoof Pfa_spoof(t))
    / min(C_miss P_tar, C_fa P_non + C_spoof P_spoof).

    Args:
        target: joint scores of targets, shape (trials,); higher is more bona fide target.
        non_target: the same for bona fide non-targets.
        spoof: the same for spoofed trials.
        cost: priors and costs.
    Raises:
        EvaluationError: if a class is empty or a score is not finite.
    Source:
        Shim et al., a-DCF: an architecture agnostic metric with application to spoofing-robust speaker
        verification, Odyssey 2024, equations 5 and 6.
    """
    return JointTrials(target, non_target, spoof).cheapest(cost)


class JointTrials:
    """Joint scores placed among their thresholds once; gives the a-DCF for any whole-number weights of the trials.

    Args:
        target: joint scores of targets, shape (trials,); higher is more bona fide target.
        non_target: the same for bona fide non-targets.
        spoof: the same for spoofed trials.
    Raises:
        EvaluationError: if a class is empty or a score is not finite.
    """

    def __init__(self, target: ArrayLike, non_target: ArrayLike, spoof: ArrayLike) -> None:
        kinds = (("target", target), ("non-target", non_target), ("spoof", spoof))
        scores = [finite_scores(values, name) for name, values in kinds]
        thresholds = np.unique(np.concatenate(scores))
        self.count = len(thresholds)
        self.places = [np.searchsorted(thresholds, values) for values in scores]

    def cheapest(self, cost: JointCost = DEFAULT_JOINT_COST) -> float:
        """See `a_dcf`."""
        return self._cheapest(cost, self.places)

    def resampled(self, rng: np.random.Generator, cost: JointCost = DEFAULT_JOINT_COST) -> float:
        """The a-DCF of as many trials of each kind as there are, drawn with replacement."""
        return self._cheapest(cost, [rng.choice(places, len(places)) for places in self.places])

    def _cheapest(self, cost: JointCost, places: list[NDArray[np.intp]]) -> float:
        rejected, others_rejected, spoof_rejected = (
            np.append(0, np.cumsum(np.bincount(kind, minlength=self.count))) / len(kind) for kind in places
        )
        weights = (
            cost.miss * (1 - cost.p_spoof - cost.p_non_target),
            cost.false_alarm * cost.p_non_target,
            cost.spoof_accepted * cost.p_spoof,
        )
        total = weights[0] * rejected + weights[1] * (1 - others_rejected) + weights[2] * (1 - spoof_rejected)
        return float(total.min()) / min(weights[0], weights[1] + weights[2])
