"""Gate weights by domain, attack, codec, language and over an utterance, and what gating gains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from veravox.analysis.gates.agreement import agreement, error_rate, oracle
from veravox.audio import WindowPolicy
from veravox.batches import protocol_trials
from veravox.errors import ScoringError, first_few
from veravox.models.checkpoint import Checkpoint
from veravox.models.detector import DetectorModel
from veravox.models.experts import EXPERTS
from veravox.models.front_ends import FRONT_ENDS
from veravox.scoring.prediction import Prediction, predict
from veravox.tables import BONA_FIDE, Protocol

COLUMNS = ("domain", "attack_id", "codec", "language")
PARTS_OF_AN_UTTERANCE = 10
CLEAR_PREFERENCE = 1.25
"""An expert stands out where it has this many times an equal share of the weight."""


@dataclass(frozen=True)
class GateReport:
    """What a mixture's gate does on a protocol. EERs are fractions; None where a class is missing.

    Attributes:
        names: of the experts, in the order of every list of weights.
        experts: by expert: `expert`, `front_end`, `listens` and `hears` (its inductive bias), `weight`, `eer`.
        groups: by column: one mapping a value: `value`, `trials`, `weights`, `eer`, `expert_eers`.
        along: mean weights in each tenth of an utterance, (10, E); None where no trial has two windows.
        spread: mean standard deviation of each expert's weight within an utterance; None likewise.
        similarity: of domains, by the share of weight that they give to the same experts: names and matrix.
        agreement: of every pair of experts.
        oracle: how good gating could be.
        routing: what the router leaves out, in a sentence.
        experts_a_window: how many have a weight above 0, in the mean over windows.
        trials, windows: that were weighed.
        failures: utterances that could not be read: id, path, error.
    """

    names: list[str]
    experts: dict[str, dict[str, Any]]
    groups: dict[str, list[dict[str, Any]]]
    along: list[list[float]] | None
    spread: list[float] | None
    similarity: dict[str, Any] | None
    agreement: list[dict[str, Any]]
    oracle: dict[str, Any] | None
    routing: str
    trials: int
    windows: int
    failures: list[dict[str, str]]
    experts_a_window: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON."""
        return {"schema": 1, **{name: getattr(self, name) for name in self.__dataclass_fields__}}

    def remarks(self) -> list[str]:
        """A sentence per domain: which expert dominates, and what it responds to."""
        said = [f"{self.routing[0].upper()}{self.routing[1:]}."]
        if self.experts_a_window is not None and self.experts_a_window < len(self.names):
            said.append(f"A window has {self.experts_a_window:.2f} of {len(self.names)} experts in the mean.")
        said += [self._remark(row) for row in self.groups.get("domain", [])]
        biases = {
            name: f"It hears {one['hears']}. It notices {one['listens']}." for name, one in self.experts.items()
        }
        if len(set(biases.values())) == 1:
            shared = next(iter(biases.values()))
            return [*said, f"The experts are alike and differ by what they learned from. Each: {shared}"]
        return [*said, *(f"{name}: {bias}" for name, bias in biases.items())]

    def _remark(self, row: Mapping[str, Any]) -> str:
        first = int(np.argmax(row["weights"]))
        name, share = self.names[first], f"{100 * row['weights'][first]:.0f} %"
        if row["weights"][first] < CLEAR_PREFERENCE / len(self.names):
            return f"{row['value']}: no expert stands out; {name} has the most weight, {share}."
        return f"{row['value']} leans on {name}, with {share} of the weight."


def analyse_gate(
    checkpoint: Checkpoint,
    protocol: Protocol,
    policy: WindowPolicy,
    columns: Sequence[str] | None = None,
    workers: int = 2,
    batch_size: int = 16,
    progress: Callable[[int], None] = lambda steps: None,
) -> GateReport:
    """Run a mixture on a protocol and report what its gate chose.

    Args:
        checkpoint: with two experts or more.
        protocol: with paths; labels are needed for error figures only.
        policy: which windows of an utterance are scored.
        columns: of the protocol to gather by; None for those of domain, attack, codec and language that it has.
        workers, batch_size: as for scoring.
        progress: takes the number of trials done.
    Raises:
        ScoringError: for a detector of one expert, or if no trial can be read.
        ProtocolError: for a column that the protocol lacks.
    """
    detector = checkpoint.model
    if len(detector.expert_names) < 2:
        raise ScoringError("this detector has one expert, and no gate to look at; give a mixture")
    protocol.require("path")
    for column in columns or ():
        if not _has_values(protocol.frame, column):
            protocol.require(column)
    predictions = []
    detector.runs_all = True  # experts that a router leaves out are compared all the same
    try:
        for trial in predict(detector.eval(), protocol_trials(protocol), policy, workers, batch_size):
            predictions.append(trial)
            progress(1)
    finally:
        detector.runs_all = False
    failures = [
        {"utterance_id": protocol.utterance_ids[one.index], "path": one.path, "error": str(one.error)}
        for one in predictions
        if one.error is not None
    ]
    read = [one for one in predictions if one.error is None]
    if not read:
        raise ScoringError(f"no trial can be read, first {first_few([item['error'] for item in failures], 1)}")
    frame = protocol.frame[[one.index for one in read]]
    present = list(columns) if columns else [name for name in COLUMNS if _has_values(frame, name)]
    return _report(detector, read, frame, present, failures)


def _has_values(frame: pl.DataFrame, column: str) -> bool:
    return column in frame.columns and frame[column].null_count() < len(frame)


def _report(
    detector: DetectorModel,
    predictions: list[Prediction],
    frame: pl.DataFrame,
    columns: list[str],
    failures: list[dict[str, str]],
) -> GateReport:
    names = detector.expert_names
    weights = np.stack([one.gate_weights.mean(axis=0) for one in predictions])  # (trials, E)
    logits = np.array([one.logit for one in predictions])
    expert_logits = np.stack([one.mean_expert_logits for one in predictions])
    has_label = frame["label"].is_not_null().to_numpy() if "label" in frame.columns else np.zeros(len(frame), bool)
    bona_fide = (frame["label"] == BONA_FIDE).fill_null(False).to_numpy() if has_label.any() else has_label
    figures = _Figures(names, weights, logits, expert_logits, has_label, bona_fide)
    groups = {column: _by(column, frame, figures) for column in columns}
    domains = (
        frame["domain"].fill_null("").to_numpy() if _has_values(frame, "domain") else np.full(len(frame), "all")
    )
    along, spread = weights_over_time(predictions)
    labelled = [array[has_label] for array in (logits, expert_logits, bona_fide, domains.astype(object))]
    return GateReport(
        names=names,
        experts=_experts(detector, figures),
        groups=groups,
        along=along,
        spread=spread,
        similarity=similarity(groups["domain"]) if "domain" in groups else None,
        agreement=agreement(names, expert_logits[has_label], bona_fide[has_label]),
        oracle=oracle(names, *labelled) if has_label.any() else None,
        routing=detector.mixture.routing,
        trials=len(predictions),
        windows=sum(len(one.logits) for one in predictions),
        failures=failures,
        experts_a_window=float(
            np.mean(np.concatenate([(one.gate_weights > 0).sum(axis=1) for one in predictions]))
        ),
    )


@dataclass(frozen=True)
class _Figures:
    """What every trial got: weights and expert logits (trials, E), logits, labels where told (trials,)."""

    names: list[str]
    weights: np.ndarray
    logits: np.ndarray
    expert_logits: np.ndarray
    has_label: np.ndarray
    bona_fide: np.ndarray

    def eer(self, scores: np.ndarray, rows: np.ndarray) -> float | None:
        rows = rows & self.has_label
        return error_rate(scores[rows], self.bona_fide[rows])

    def row(self, value: str, rows: np.ndarray, against: np.ndarray) -> dict[str, Any]:
        included = rows | against
        return {
            "value": value,
            "trials": int(rows.sum()),
            "weights": [float(mean) for mean in self.weights[rows].mean(axis=0)],
            "eer": self.eer(self.logits, included),
            "expert_eers": [self.eer(column, included) for column in self.expert_logits.T],
        }


def _by(column: str, frame: pl.DataFrame, figures: _Figures) -> list[dict[str, Any]]:
    """Figures of each value; spoofed trials alone are compared with all bona fide ones."""
    values = frame[column].cast(pl.String)
    if column == "attack_id":  # corpora leave the cells of bona fide trials empty
        values = values.zip_with(pl.Series(~figures.bona_fide | values.is_not_null().to_numpy()), pl.Series(["-"]))
    groups = []
    for value in sorted(set(values.drop_nulls())):
        rows = (values == value).fill_null(False).to_numpy()
        spoof_only = bool(figures.has_label[rows].any()) and not figures.bona_fide[rows].any()
        against = figures.bona_fide & figures.has_label if spoof_only else np.zeros(len(rows), bool)
        name = "bona fide" if column == "attack_id" and value == "-" else value
        groups.append(figures.row(name, rows, against))
    return groups


def _experts(detector: DetectorModel, figures: _Figures) -> dict[str, dict[str, Any]]:
    everything = np.ones(len(figures.logits), dtype=bool)
    result = {}
    for index, (name, item) in enumerate(detector.spec.experts.items()):
        front_end = detector.spec.front_ends[item.front_end].name
        expert: Any = EXPERTS[item.spec.name]
        front_end_class: Any = FRONT_ENDS[front_end]
        result[name] = {
            "expert": item.spec.name,
            "front_end": front_end,
            "listens": expert.inductive_bias,
            "hears": front_end_class.captures,
            "weight": float(figures.weights[:, index].mean()),
            "eer": figures.eer(figures.expert_logits[:, index], everything),
        }
    return result


def weights_over_time(predictions: Sequence[Prediction]) -> tuple[list[list[float]] | None, list[float] | None]:
    """Mean weights in each tenth of an utterance, and their mean deviation within one.

    Every utterance of two windows or more counts the same; its weights are read off at the middle of each tenth.
    """
    several = [one.gate_weights for one in predictions if len(one.gate_weights) > 1]
    if not several:
        return None, None
    tenths = (np.arange(PARTS_OF_AN_UTTERANCE) + 0.5) / PARTS_OF_AN_UTTERANCE
    read = [weights[(tenths * len(weights)).astype(int)] for weights in several]
    spread = np.mean([weights.std(axis=0) for weights in several], axis=0)
    return np.mean(read, axis=0).tolist(), spread.tolist()


def similarity(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How alike the gate treats domains: 1 if their mean weights are equal, 0 if they share no expert.

    The figure is 1 minus half the sum of absolute differences.
    """
    weights = np.array([row["weights"] for row in rows])
    apart = np.abs(weights[:, None] - weights[None]).sum(axis=2) / 2
    return {"domains": [row["value"] for row in rows], "matrix": (1 - apart).tolist()}
