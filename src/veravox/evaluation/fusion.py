"""Several score files as one: a logistic fusion, fitted on one protocol and applied to another."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from veravox.errors import EvaluationError, first_few
from veravox.evaluation.calibration import centre_and_spread, check_disjoint, fit_logistic, folds_of, sketch_of
from veravox.evaluation.metrics.rates import Floats
from veravox.files import write_json
from veravox.tables import BONA_FIDE, Protocol, Scores


@dataclass(frozen=True)
class Fusion:
    """Weights of several systems; their fused score is a log-likelihood ratio (natural log).

    Args:
        inputs: name of each system, for messages.
        weights: one a system.
        offset: in nats.
        prior: of spoof, in the fit and for `p_spoof`.
        fitted_on: the trials, in words.
        trials: fingerprint of the trials of the fit.
    """

    inputs: tuple[str, ...]
    weights: tuple[float, ...]
    offset: float
    prior: float = 0.5
    fitted_on: str = ""
    trials: tuple[str, ...] = ()

    def apply(self, scores: Sequence[Scores]) -> Scores:
        """The fused scores of the same trials in every file, in the order of the fit.

        Raises:
            EvaluationError: if the number of files differs from the fit, or the trials are those of the fit.
            ScoringError: if the files do not hold the same trials.
        """
        if len(scores) != len(self.weights):
            systems = first_few(self.inputs, 9)
            raise EvaluationError(f"the fusion needs {len(self.weights)} systems ({systems}); {len(scores)} given")
        ids, matrix = _joined(scores)
        check_disjoint(self.trials, ids, self.fitted_on)
        return _as_scores(ids, matrix @ np.array(self.weights) + self.offset, self.prior)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON."""
        write_json(path, {"schema": 1, "fusion": asdict(self)})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Fusion:
        """Read what `write` wrote.

        Raises:
            EvaluationError: if the file is not a fusion.
        """
        try:
            with open(path, encoding="utf-8") as file:
                data: dict[str, Any] = json.load(file)["fusion"]
            return cls(**(data | {name: tuple(data[name]) for name in ("inputs", "weights", "trials")}))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"{str(path)!r} is not a fusion of veravox: {error!r}") from error


def is_fusion(path: str | os.PathLike[str]) -> bool:
    """Whether a file was written by `Fusion.write`."""
    try:
        with open(path, encoding="utf-8") as file:
            return "fusion" in json.load(file)
    except (OSError, ValueError, TypeError):
        return False


def _joined(scores: Sequence[Scores]) -> tuple[list[str], Floats]:
    """Ids in the order of the first file, and the scores of all, shape (trials, systems)."""
    first = scores[0].frame.select("utterance_id")
    order = Protocol(first, name=scores[0].name)
    columns = [one.align(order)["score"].to_numpy() for one in scores]
    return order.utterance_ids, np.stack(columns, axis=1).astype(np.float64)


def _as_scores(ids: Iterable[str], ratios: Floats, prior: float) -> Scores:
    from scipy.special import expit, logit  # slow to import

    p_spoof = expit(logit(prior) - ratios)
    return Scores(
        pl.DataFrame({"utterance_id": list(ids), "score": ratios, "p_spoof": p_spoof}), name="fused scores"
    )


def _fit(matrix: Floats, is_bona_fide: NDArray[np.bool_], prior: float) -> tuple[Floats, float]:
    if not 0 < prior < 1:
        raise EvaluationError(f"the prior of spoof must lie between 0 and 1; got {prior}")
    if is_bona_fide.all() or not is_bona_fide.any():
        raise EvaluationError("a fusion needs both bona fide and spoofed trials")
    first, second = matrix[is_bona_fide], matrix[~is_bona_fide]
    centre, spread = centre_and_spread(first, second)
    standard = (first - centre) / spread, (second - centre) / spread
    found = fit_logistic(*standard, prior)
    if (standard[0] @ found[:-1]).min() >= (standard[1] @ found[:-1]).max():
        # As in `fit_affine`: where the classes come apart, a little doubt keeps the weights finite.
        found = fit_logistic(*standard, prior, (1 / (len(first) + 2), 1 / (len(second) + 2)))
    weights = found[:-1] / spread
    return weights, float(found[-1] - weights @ centre)


def fit_fusion(
    scores: Sequence[Scores], protocol: Protocol, prior: float = 0.5, names: Sequence[str] | None = None
) -> Fusion:
    """Weights of several systems by prior-weighted logistic regression.

    fused = sum over systems of w_k s_k + offset, minimising the loss of `fit_affine` over all weights.

    Args:
        scores: of each system, for every trial of the protocol.
        protocol: with labels.
        prior: of spoof.
        names: of the systems; those of the files if None.
    Raises:
        EvaluationError: for fewer than two systems, or a missing class.
        ScoringError: if a file lacks a trial, or has one too many.
    Source:
        Brümmer et al., Fusion of heterogeneous speaker recognition systems in the STBU submission, IEEE TASLP 15,
        2007, section 3.
    """
    matrix, is_bona_fide = _labelled(scores, protocol)
    weights, offset = _fit(matrix, is_bona_fide, prior)
    return Fusion(
        inputs=tuple(names or (Path(one.name).name for one in scores)),
        weights=tuple(float(weight) for weight in weights),
        offset=offset,
        prior=prior,
        fitted_on=f"{Path(protocol.name).name}, {len(protocol)} trials",
        trials=sketch_of(protocol.utterance_ids),
    )


def cross_fuse(
    scores: Sequence[Scores],
    protocol: Protocol,
    folds: int = 5,
    prior: float = 0.5,
    cluster: str | None = None,
    seed: int = 0,
) -> Scores:
    """Fused scores of labelled trials, each by weights fitted on the folds that it is not in.

    Raises:
        EvaluationError: for fewer than two systems, or too few trials for the folds.
        ProtocolError: if a trial has no value in the cluster column.
    """
    matrix, is_bona_fide = _labelled(scores, protocol)
    clusters = None
    if cluster:
        protocol.require(cluster)
        clusters = protocol.frame[cluster].to_list()
    fold = folds_of(is_bona_fide, folds, clusters, seed)
    ratios = np.empty(len(matrix))
    for index in range(folds):
        rest = fold != index
        weights, offset = _fit(matrix[rest], is_bona_fide[rest], prior)
        ratios[~rest] = matrix[~rest] @ weights + offset
    return _as_scores(protocol.utterance_ids, ratios, prior)


def _labelled(scores: Sequence[Scores], protocol: Protocol) -> tuple[Floats, NDArray[np.bool_]]:
    if len(scores) < 2:
        raise EvaluationError("a fusion needs the scores of at least two systems; for one, fit a calibration")
    protocol.require("label")
    joined = [one.align(protocol)["score"].to_numpy() for one in scores]
    is_bona_fide = (protocol.frame["label"] == BONA_FIDE).to_numpy()
    return np.stack(joined, axis=1).astype(np.float64), is_bona_fide
