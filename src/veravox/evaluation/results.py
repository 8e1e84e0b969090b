"""Scores and a protocol to figures."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from veravox.evaluation.rates import OperatingPoints
from veravox.tables import BONA_FIDE, SPOOF, Protocol, Scores


@dataclass(frozen=True)
class Evaluation:
    """The figures of one set of scores on one protocol; rates are fractions."""

    trials: int
    bona_fide: int
    spoof: int
    eer: float
    auc: float
    balanced_accuracy: float


def evaluate(scores: Scores, protocol: Protocol) -> Evaluation:
    """EER, AUC and the balanced accuracy at the EER threshold.

    Raises:
        ScoringError: if a trial has no score, or a score has no trial.
        ProtocolError: if a trial has no label.
        EvaluationError: if a class is missing.
    """
    protocol.require("label")
    joined = scores.align(protocol)
    points = OperatingPoints.of(
        joined.filter(pl.col("label") == BONA_FIDE)["score"].to_numpy(),
        joined.filter(pl.col("label") == SPOOF)["score"].to_numpy(),
    )
    at_eer = points.decisions(points.threshold(points.eer_point()))
    return Evaluation(
        trials=len(joined),
        bona_fide=points.bona_fide,
        spoof=points.spoof,
        eer=points.equal_error_rate(),
        auc=points.auc(),
        balanced_accuracy=at_eer.balanced_accuracy,
    )
