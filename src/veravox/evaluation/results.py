"""The result of an evaluation: estimates with their intervals, for all trials, for groups and for pools."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from veravox.errors import EvaluationError
from veravox.evaluation.metrics.rates import OperatingPoints


@dataclass(frozen=True)
class Estimate:
    """A value, with its bootstrap interval where one was asked for."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float]:
        """As plain data; the interval only where there is one."""
        both = {"value": self.value, "low": self.low, "high": self.high}
        return {key: value for key, value in both.items() if value is not None}


@dataclass(frozen=True)
class GroupResult:
    """Estimates over one set of trials: all of them, a group, a dataset, or a pool's trials together."""

    column: str
    name: str
    bona_fide: int
    spoof: int
    estimates: dict[str, Estimate]
    note: str = ""
    side: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        head: dict[str, Any] = {"name": self.name, "bona_fide": self.bona_fide, "spoof": self.spoof}
        head["figures"] = {name: estimate.to_dict() for name, estimate in self.estimates.items()}
        return head | ({"note": self.note} if self.note else {})


@dataclass(frozen=True)
class Pool:
    """Datasets under one name; `macro` is the mean of their estimates, `pooled` is over all their trials."""

    name: str
    datasets: tuple[GroupResult, ...]
    macro: dict[str, Estimate]
    pooled: GroupResult

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "datasets": [part.to_dict() for part in self.datasets],
            "macro": {name: estimate.to_dict() for name, estimate in self.macro.items()},
            "pooled": self.pooled.to_dict(),
        }


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation; `evaluation.eer` is a number, `evaluation["eer"]` the number with its interval.

    Args:
        name: name of the scores.
        whole: estimates over all trials.
        groups: column to its groups.
        pools: named pools of datasets.
        auxiliary: metrics of other inputs than the scores of trials: `a_dcf`, `segment_eer`, `range_eer`.
        operating_points: name of the operating point (`""` for the first) to its rule in words and its threshold.
        not_computed: metric to the reason why it is missing.
        warnings: what a reader must know.
        settings: what the metrics assume.
        points: operating points of all trials, for curves.
        ratio_points: the same of their log-likelihood ratios, if there are any.
    """

    name: str
    whole: GroupResult
    groups: dict[str, tuple[GroupResult, ...]]
    pools: tuple[Pool, ...]
    auxiliary: dict[str, Estimate]
    operating_points: dict[str, tuple[str, float]]
    not_computed: dict[str, str]
    warnings: tuple[str, ...]
    settings: dict[str, Any]
    points: OperatingPoints = field(repr=False)
    ratio_points: OperatingPoints | None = field(repr=False)

    def __getitem__(self, name: str) -> Estimate:
        estimates = self.whole.estimates | self.auxiliary
        if name not in estimates:
            reason = self.not_computed.get(name, "known: " + ", ".join(estimates))
            raise EvaluationError(f"the metric {name!r} was not computed: {reason}")
        return estimates[name]

    @property
    def eer(self) -> float:
        """Equal error rate, a fraction."""
        return self["eer"].value

    @property
    def auc(self) -> float:
        """Area under the ROC curve, a fraction."""
        return self["auc"].value

    @property
    def partial_auc(self) -> float:
        """Area under the ROC curve up to the largest false alarm rate, a fraction."""
        return self["partial_auc"].value

    @property
    def min_dcf(self) -> float:
        """Normalised detection cost at the best threshold of these trials."""
        return self["min_dcf"].value

    @property
    def act_dcf(self) -> float:
        """Normalised detection cost at the Bayes threshold; needs log-likelihood ratios."""
        return self["act_dcf"].value

    @property
    def cllr(self) -> float:
        """Cost of log-likelihood ratios, bits; needs log-likelihood ratios."""
        return self["cllr"].value

    @property
    def min_cllr(self) -> float:
        """Cllr of the best rising map of the scores, bits."""
        return self["min_cllr"].value

    @property
    def calibration_error(self) -> float:
        """Mean gap between predicted and observed shares, a fraction; needs log-likelihood ratios."""
        return self["calibration_error"].value

    @property
    def min_tdcf_legacy(self) -> float:
        """Minimum t-DCF of ASVspoof 2019; needs ASV scores."""
        return self["min_tdcf_legacy"].value

    @property
    def min_tdcf(self) -> float:
        """Minimum t-DCF of ASVspoof 2021; needs ASV scores."""
        return self["min_tdcf"].value

    @property
    def t_eer(self) -> float:
        """Tandem equal error rate, a fraction; needs ASV scores."""
        return self["t_eer"].value

    @property
    def official_t_eer(self) -> float:
        """Tandem equal error rate as the ASVspoof 5 package counts it, a fraction; needs ASV scores."""
        return self["official_t_eer"].value

    @property
    def uncertain(self) -> float:
        """Share of trials between the thresholds of the calibration, a fraction."""
        return self["uncertain"].value

    @property
    def balanced_accuracy(self) -> float:
        """Mean of TPR and TNR at the first operating point, a fraction."""
        return self["balanced_accuracy"].value

    @property
    def tpr(self) -> float:
        """Share of spoof detected at the first operating point, a fraction."""
        return self["tpr"].value

    @property
    def tnr(self) -> float:
        """Share of bona fide passed at the first operating point, a fraction."""
        return self["tnr"].value

    @property
    def f1(self) -> float:
        """F1 of the class spoof at the first operating point, a fraction."""
        return self["f1"].value

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; the schema is numbered."""
        return {
            "schema": 1,
            "name": self.name,
            "trials": self.whole.bona_fide + self.whole.spoof,
            **self.whole.to_dict(),
            "groups": {column: [group.to_dict() for group in groups] for column, groups in self.groups.items()},
            "pools": [pool.to_dict() for pool in self.pools],
            "extras": {name: estimate.value for name, estimate in self.auxiliary.items()},
            "extra_intervals": {
                name: {"low": estimate.low, "high": estimate.high}
                for name, estimate in self.auxiliary.items()
                if estimate.low is not None
            },
            "operating_points": {
                name or "first": {"rule": rule, "threshold": threshold}
                for name, (rule, threshold) in self.operating_points.items()
            },
            "not_computed": self.not_computed,
            "warnings": list(self.warnings),
            "settings": self.settings,
        }
