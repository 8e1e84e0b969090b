"""A calibration with the evidence for it: what `veravox calibrate` prints."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from veravox.evaluation.calibration import FittedCalibration, cross_calibrate, fit_on
from veravox.evaluation.estimates import Trials
from veravox.evaluation.metrics.likelihood import cllr_of_points, min_cllr_of_points
from veravox.tables import Protocol, Scores


@dataclass(frozen=True)
class CalibrationResult:
    """A fitted calibration, and what cross-validation says of such a fit (never of the fit on its own trials)."""

    fitted: FittedCalibration
    folds: int
    raw_cllr: float
    cross_validated_cllr: float | None
    pav_cllr: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {
            "schema": 1,
            "calibration": self.fitted.calibration.to_dict(),
            "raw_cllr": self.raw_cllr,
            "cross_validated_cllr": self.cross_validated_cllr,
            "pav_cllr": self.pav_cllr,
            "folds": self.folds,
        }

    def rows(self) -> list[list[str]]:
        """Name and value of each line, to print."""
        found = self.fitted.calibration
        lines = [
            ["scale", f"{found.scale:.6g}"],
            ["offset", f"{found.offset:.6g}"],
            ["prior of spoof", f"{found.prior:g}"],
            ["spoof below", f"{found.lower:.6g}"],
            ["bona fide from", f"{found.upper:.6g}"],
            ["rule", found.rule],
            ["fitted on", found.fitted_on],
            ["Cllr of the raw scores", f"{self.raw_cllr:.4f}"],
            ["Cllr of any rising map (PAV, a bound on these trials)", f"{self.pav_cllr:.4f}"],
        ]
        if self.cross_validated_cllr is not None:
            lines.insert(-1, [f"Cllr, cross-validated in {self.folds} folds", f"{self.cross_validated_cllr:.4f}"])
        return lines


def calibrate(
    scores: Scores, protocol: Protocol, cross_validate: int = 5, cluster: str | None = None, **options: Any
) -> CalibrationResult:
    """Fit a calibration, and cross-validate such a fit.

    Args:
        scores: raw scores of every trial.
        protocol: with labels.
        cross_validate: number of folds; none if 0.
        cluster: column whose values stay in one fold.
        options: of `fit_calibration`.
    Raises:
        ScoringError: if a trial has no score, or a score has no trial.
        ProtocolError: if a trial has no label.
        EvaluationError: if no calibration fits, or the trials are too few for the folds.
    """
    trials = Trials.join(scores, protocol)
    fitted = fit_on(scores, protocol, **options)
    found = None
    if cross_validate:
        clusters = trials.column(cluster) if cluster else None
        ratios = cross_calibrate(
            trials.scores, trials.is_bona_fide, cross_validate, options.get("prior", 0.5), clusters
        )
        found = cllr_of_points(replace(trials, scores=ratios).points)
    points = trials.points
    return CalibrationResult(fitted, cross_validate, cllr_of_points(points), found, min_cllr_of_points(points))
