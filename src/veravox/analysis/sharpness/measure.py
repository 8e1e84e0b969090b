"""How much a detector's loss can rise near its weights, on protocols and on each of their conditions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from veravox.analysis.conditions import bona_fide_trials, conditions, drifting
from veravox.analysis.sharpness.table import SharpnessTable, interval
from veravox.analysis.sharpness.weights import (
    Vector,
    WeightSpace,
    added,
    length,
    scaled,
    top_eigenvectors,
)
from veravox.batches import read_windows
from veravox.errors import ConfigurationError, ProtocolError, suggest
from veravox.evaluation import equal_error_rate
from veravox.models.checkpoint import Checkpoint
from veravox.models.detector import DetectorModel
from veravox.scoring.detector import as_checkpoint, detector_policy
from veravox.tables import Protocol
from veravox.training.losses import weighted_cross_entropy

MEASURES = ("one_step", "ascent", "adaptive", "average", "eigenvalue")


@dataclass(frozen=True)
class Measure:
    """What to measure, and settings.

    Args:
        measures: any of
            `one_step`: as published, per batch the loss at w + rho g/|g| less the loss at w;
            `ascent`: the largest rise found by `steps` of projected ascent in the ball of radius rho;
            `adaptive`: one step, scaled by the weights' sizes (its rho is `adaptive_rho`);
            `average`: mean rise over `draws` Gaussian moves of expected length rho;
            `eigenvalue`: the largest of the loss's Hessian, from products with differences of gradients.
        rho: radius of the ball.
        adaptive_rho: of the adaptive measure.
        steps, draws, rounds: of ascent, of the average, of the search for the eigenvalue (its products).
        batch_size: m of m-sharpness.
        max_batches: per condition, drawn by `seed`; None for all.
        class_weights: of spoof and bona fide in the loss; None for those that the detector was trained with.
        seed: of batches, draws and intervals.
    Raises:
        ConfigurationError: for an unknown measure or a value out of range.
    Source:
        Foret et al., ICLR 2021; Andriushchenko and Flammarion, ICML 2022 (m-sharpness, average); Kwon et al., ICML
        2021 (adaptive).
    """

    measures: tuple[str, ...] = ("one_step",)
    rho: float = 0.05
    adaptive_rho: float = 0.5
    steps: int = 5
    draws: int = 4
    rounds: int = 20
    batch_size: int = 32
    max_batches: int | None = None
    class_weights: tuple[float, float] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.measures:
            if name not in MEASURES:
                raise ConfigurationError(f"unknown measure {name!r}; {suggest(name, MEASURES)}")
        if not self.measures or min(self.rho, self.adaptive_rho) <= 0 or min(self.class_weights or (1,)) <= 0:
            raise ConfigurationError("sharpness needs a measure, and rho and class weights above 0")
        if min(self.steps, self.draws, self.rounds, self.batch_size) < 1 or (self.max_batches or 1) < 1:
            raise ConfigurationError("steps, draws, rounds, batch size and batches must be at least 1")

    def with_weights_of(self, checkpoint: Checkpoint) -> Measure:
        """The same with the class weights of a detector's training, unless there are some already."""
        return self if self.class_weights else replace(self, class_weights=trained_class_weights(checkpoint))


def trained_class_weights(checkpoint: Checkpoint) -> tuple[float, float]:
    """Weights of spoof and bona fide in the loss of a detector's last stage; 1 and 1 if unknown."""
    recipe = checkpoint.provenance.get("recipe")
    if not isinstance(recipe, Mapping) or not recipe.get("stages"):
        return 1.0, 1.0
    shared = recipe.get("training") or {}  # before stages had all their fields
    weights = recipe["stages"][-1].get("class_weights", shared.get("class_weights"))
    return (float(weights[0]), float(weights[1])) if weights else (1.0, 1.0)


@dataclass
class LabelledWindows:
    """Some trials' windows: (B, S), targets (B,)."""

    windows: Tensor
    targets: Tensor


class TrialWindows:
    """One window of every trial, read on demand; files that cannot be read are listed, never scored.

    Args:
        protocol: with `path` and `label`.
        checkpoint: whose window length counts.
        policy: `first` or `middle`.
    """

    def __init__(self, protocol: Protocol, checkpoint: Checkpoint, policy: str = "first") -> None:
        protocol.require("path", "label")
        if policy not in ("first", "middle"):
            raise ConfigurationError(f"sharpness takes one window a trial, first or middle, not {policy!r}")
        self.protocol, self.paths = protocol, protocol.audio_paths()
        self.policy = detector_policy(checkpoint, policy)
        self.device = next(iter(checkpoint.model.parameters())).device
        self.is_bona_fide = bona_fide_trials(protocol)
        self.failures: dict[int, str] = {}

    def batch(self, indices: Sequence[int]) -> LabelledWindows | None:
        """The batch of those trials that can be read; None if there is none."""
        windows, targets = [], []
        for index in indices:
            for chunk in read_windows(index, self.paths[index], self.policy, measure=False):
                if chunk.error is not None:
                    self.failures[index] = str(chunk.error)
                elif len(chunk.windows):
                    windows.append(chunk.windows[0])
                    targets.append(float(self.is_bona_fide[index]))
                break
        if not windows:
            return None
        return LabelledWindows(
            torch.from_numpy(np.stack(windows)).to(self.device), torch.tensor(targets, device=self.device)
        )

    def batches(self, batch_size: int, count: int, seed: int = 0) -> list[LabelledWindows]:
        """Up to `count` batches of all trials, drawn by the seed."""
        order = np.random.default_rng(seed).permutation(len(self.paths))[: batch_size * count]
        cut = [order[start : start + batch_size].tolist() for start in range(0, len(order), batch_size)]
        return [batch for indices in cut if (batch := self.batch(indices)) is not None]


def measure_batch(
    detector: DetectorModel, batch: LabelledWindows, settings: Measure, number: int = 0
) -> dict[str, Any]:
    """Loss, logits and every measure of one batch, in evaluation mode; the weights are restored."""
    space = WeightSpace(detector)

    def loss() -> Tensor:
        return weighted_cross_entropy(
            detector(batch.windows).logits, batch.targets, settings.class_weights or (1.0, 1.0)
        )

    with torch.no_grad():
        logits = detector(batch.windows).logits.double().cpu().numpy()
    start, gradient = space.gradient(loss)
    measured: dict[str, Any] = {"loss": start, "logits": logits, "size": len(batch.targets)}
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + number)
    for name in settings.measures:
        measured[name] = _MEASURES[name](space, loss, start, gradient, settings, generator)
    return measured


Taking = Callable[[WeightSpace, Callable[[], Tensor], float, Vector, Measure, torch.Generator], float]


def _uphill(gradient: Vector, rho: float) -> Vector:
    size = length(gradient)
    return scaled(gradient, rho / size if size > 0 else 0.0)


def _one_step(space: Any, loss: Any, start: float, gradient: Vector, settings: Measure, _: Any) -> float:
    return space.loss_at(loss, _uphill(gradient, settings.rho)) - start


def _ascent(space: Any, loss: Any, start: float, gradient: Vector, settings: Measure, _: Any) -> float:
    """Begins with the published single step, so it is never less than that."""
    move, best = _uphill(gradient, settings.rho), -np.inf
    for _step in range(settings.steps):
        with space.moved(move):
            value, there = space.gradient(loss)
        best = max(best, value)
        move = added((1.0, move), (1.0, _uphill(there, settings.rho / 2)))
        size = length(move)
        if size > settings.rho:
            move = scaled(move, settings.rho / size)
    return max(best, space.loss_at(loss, move)) - start


def _adaptive(space: Any, loss: Any, start: float, gradient: Vector, settings: Measure, _: Any) -> float:
    sizes = [parameter.detach().abs() for parameter in space.parameters]
    inner = [part * size for part, size in zip(gradient, sizes, strict=True)]
    total = length(inner)
    factor = settings.adaptive_rho / total if total > 0 else 0.0
    return space.loss_at(loss, [part * size * factor for part, size in zip(inner, sizes, strict=True)]) - start


def _average(
    space: Any, loss: Any, start: float, gradient: Vector, settings: Measure, generator: torch.Generator
) -> float:
    factor = settings.rho / space.count**0.5
    moved = [space.loss_at(loss, scaled(space.gaussian(generator), factor)) for _ in range(settings.draws)]
    return float(np.mean(moved)) - start


def _eigenvalue(
    space: Any, loss: Any, start: float, gradient: Vector, settings: Measure, generator: torch.Generator
) -> float:
    return top_eigenvectors(space, loss, 1, generator, settings.rounds, start=gradient)[0][0]


_MEASURES: Mapping[str, Taking] = {
    "one_step": _one_step,
    "ascent": _ascent,
    "adaptive": _adaptive,
    "average": _average,
    "eigenvalue": _eigenvalue,
}


def measure_sharpness(
    detector: Checkpoint | DetectorModel,
    protocols: Mapping[str, Protocol],
    settings: Measure | None = None,
    by: Sequence[str] = (),
    drift: str | None = None,
    policy: str = "first",
    model: str = "",
    progress: Callable[[int], None] = lambda steps: None,
) -> SharpnessTable:
    """Sharpness of a detector per protocol and condition, with intervals over batches.

    Args:
        detector: put into evaluation mode.
        protocols: by name, with labels.
        settings: measures and their options.
        by: columns whose values are conditions.
        drift: a column whose values are added one by one, the most frequent first.
        policy: which window of each trial, `first` or `middle`.
        model: name of the detector in the table.
        progress: called after each batch.
    Raises:
        ProtocolError: if a column or label is missing, or no file of a condition can be read.
    """
    checkpoint = as_checkpoint(detector)
    settings = (settings or Measure()).with_weights_of(checkpoint)
    checkpoint.model.eval()
    rows, failures = [], []
    for name, protocol in protocols.items():
        trials = TrialWindows(protocol, checkpoint, policy)
        for column, value, members in [*conditions(protocol, by), *drifting(protocol, drift)]:
            where = {"model": model, "protocol": name, "column": column, "condition": value}
            rows += [
                where | row for row in _condition(checkpoint.model, trials, members, settings, progress, where)
            ]
        ids = protocol.utterance_ids
        failures += [
            {"protocol": name, "utterance_id": ids[index], "path": trials.paths[index], "error": error}
            for index, error in sorted(trials.failures.items())
        ]
    return SharpnessTable(pl.DataFrame(rows, infer_schema_length=None), failures)


def planned_batches(
    protocols: Mapping[str, Protocol], settings: Measure, by: Sequence[str] = (), drift: str | None = None
) -> int:
    """How many batches `measure_sharpness` goes through, for a progress."""
    counts = [
        -(-len(members) // settings.batch_size)
        for protocol in protocols.values()
        for _, _, members in [*conditions(protocol, by), *drifting(protocol, drift)]
    ]
    return sum(count if settings.max_batches is None else min(count, settings.max_batches) for count in counts)


def _condition(
    detector: DetectorModel,
    trials: TrialWindows,
    members: np.ndarray,
    settings: Measure,
    progress: Callable[[int], None],
    where: Mapping[str, str],
) -> list[dict[str, Any]]:
    """One row a measure for these trials."""
    order = np.random.default_rng(settings.seed).permutation(members)
    batches = [order[start : start + settings.batch_size] for start in range(0, len(order), settings.batch_size)]
    measured, bona_fide = [], []
    for number, indices in enumerate(batches[: settings.max_batches]):
        batch = trials.batch(indices.tolist())
        if batch is not None:
            measured.append(measure_batch(detector, batch, settings, number))
            bona_fide.append(batch.targets.cpu().numpy() > 0.5)
        progress(1)
    if not measured:
        raise ProtocolError(f"{trials.protocol.name}: no trial of {where['condition']!r} could be read")
    sizes = np.array([item["size"] for item in measured], dtype=float)
    logits, labels = np.concatenate([item["logits"] for item in measured]), np.concatenate(bona_fide)
    both = bool(labels.any() and not labels.all())
    shared = {
        "batches": len(measured),
        "trials": int(sizes.sum()),
        "loss": float(np.average([item["loss"] for item in measured], weights=sizes)),
        "eer": equal_error_rate(logits[labels], logits[~labels]) if both else None,
    }
    rows = []
    for name in settings.measures:
        values = np.array([item[name] for item in measured])
        low, high = interval(values, sizes, settings.seed)
        rho = None if name == "eigenvalue" else settings.adaptive_rho if name == "adaptive" else settings.rho
        value = float(np.average(values, weights=sizes))
        rows.append({"measure": name, "rho": rho, "value": value, "low": low, "high": high, **shared})
    return rows


__all__ = [
    "MEASURES",
    "LabelledWindows",
    "Measure",
    "TrialWindows",
    "measure_batch",
    "measure_sharpness",
    "planned_batches",
]
