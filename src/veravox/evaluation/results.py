"""What an evaluation gives: figures with their intervals, for the whole, for groups and for pools."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from veravox.errors import EvaluationError
from veravox.evaluation.metrics import DECISION_METRICS, METRICS
from veravox.evaluation.rates import OperatingPoints


@dataclass(frozen=True)
class Figure:
    """A value, with its bootstrap interval where one was asked for."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, float]:
        """As plain data; the interval only where there is one."""
        both = {"value": self.value, "low": self.low, "high": self.high}
        return {key: value for key, value in both.items() if value is not None}


@dataclass(frozen=True)
class Part:
    """The figures of one set of trials: the whole, a group, a dataset, or a pool's trials together."""

    column: str
    name: str
    bona_fide: int
    spoof: int
    figures: dict[str, Figure]
    note: str = ""
    side: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        head: dict[str, Any] = {"name": self.name, "bona_fide": self.bona_fide, "spoof": self.spoof}
        head["figures"] = {name: figure.to_dict() for name, figure in self.figures.items()}
        return head | ({"note": self.note} if self.note else {})


@dataclass(frozen=True)
class Pool:
    """Datasets under one name. `macro` is the mean of their figures, `pooled` the figures of all their trials."""

    name: str
    datasets: tuple[Part, ...]
    macro: dict[str, Figure]
    pooled: Part

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "datasets": [part.to_dict() for part in self.datasets],
            "macro": {name: figure.to_dict() for name, figure in self.macro.items()},
            "pooled": self.pooled.to_dict(),
        }


@dataclass(frozen=True)
class Evaluation:
    """All that was found; `evaluation.eer` is a figure, `evaluation["eer"]` the figure with its interval.

    Args:
        name: of the scores.
        whole: figures of all trials.
        groups: column to its groups.
        pools: named pools of datasets.
        extras: figures of other inputs than the scores of trials: `a_dcf`, `segment_eer`, `range_eer`.
        extra_intervals: low and high of those, where intervals were asked for.
        operating_points: name of the operating point (`""` for the first) to its rule in words and its threshold.
        not_computed: metric to the reason why it is missing.
        warnings: what a reader must know.
        settings: what the figures assume.
        points: of all trials, for curves.
        ratio_points: the same of their log-likelihood ratios, if there are any.
    """

    name: str
    whole: Part
    groups: dict[str, tuple[Part, ...]]
    pools: tuple[Pool, ...]
    extras: dict[str, float]
    extra_intervals: dict[str, tuple[float, float]]
    operating_points: dict[str, tuple[str, float]]
    not_computed: dict[str, str]
    warnings: tuple[str, ...]
    settings: dict[str, Any]
    points: OperatingPoints = field(repr=False)
    ratio_points: OperatingPoints | None = field(repr=False)

    def __getitem__(self, name: str) -> Figure:
        if name in self.extras:
            return Figure(self.extras[name], *self.extra_intervals.get(name, (None, None)))
        if name not in self.whole.figures:
            reason = self.not_computed.get(name, "known: " + ", ".join(self.whole.figures))
            raise EvaluationError(f"the figure {name!r} was not computed: {reason}")
        return self.whole.figures[name]

    def __getattr__(self, name: str) -> float:
        if name.startswith("_") or name not in (*METRICS, *DECISION_METRICS):
            raise AttributeError(name)
        return self[name].value

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON; the schema is numbered."""
        return {
            "schema": 1,
            "name": self.name,
            "trials": self.whole.bona_fide + self.whole.spoof,
            **self.whole.to_dict(),
            "groups": {column: [part.to_dict() for part in parts] for column, parts in self.groups.items()},
            "pools": [pool.to_dict() for pool in self.pools],
            "extras": self.extras,
            "extra_intervals": {
                name: {"low": low, "high": high} for name, (low, high) in self.extra_intervals.items()
            },
            "operating_points": {
                name or "first": {"rule": rule, "threshold": threshold}
                for name, (rule, threshold) in self.operating_points.items()
            },
            "not_computed": self.not_computed,
            "warnings": list(self.warnings),
            "settings": self.settings,
        }
