"""What a detector reaches on dev, and the best weights so far by that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from veravox.audio import WindowPolicy
from veravox.batches import protocol_trials
from veravox.errors import TrainingError
from veravox.evaluation import equal_error_rate
from veravox.models.detector import DetectorModel
from veravox.scoring.prediction import Prediction, output_rows, predict
from veravox.tables import BONA_FIDE, Protocol
from veravox.training.feature_cache import DevWindows, FeatureCache
from veravox.training.losses import smoothed_cross_entropy
from veravox.training.track import Progress

Choose = Literal["best", "least_loss", "last"]
DevLoss = Callable[[np.ndarray, np.ndarray], float]
"""Loss of logits (trials,), given which trials are bona fide (trials,)."""


@dataclass
class BestWeights:
    """The best weights of one part so far.

    Attributes:
        eer, loss, epoch, weights: of the best epoch on dev.
        mean: means of the weights of all epochs that were best when they came; empty unless they are kept.
        count: how many these are.
    """

    eer: float = math.inf
    loss: float = math.inf
    epoch: int = -1
    weights: dict[str, Tensor] = field(default_factory=dict)
    mean: dict[str, Tensor] = field(default_factory=dict)
    count: int = 0

    def improve(self, eer: float, loss: float, epoch: int, module: nn.Module, choose: Choose = "best") -> bool:
        """Keep the module's weights if they are better; whether they are kept.

        Args:
            eer, loss: of the epoch, on dev.
            epoch: its number.
            module: with its weights.
            choose: `best` by EER, then by loss; `least_loss` by loss alone; the `last` epoch, whatever dev says.
        """
        better = {
            "best": (eer, loss) < (self.eer, self.loss),
            "least_loss": loss < self.loss,
            "last": True,
        }[choose]
        if better:
            self.eer, self.loss, self.epoch = eer, loss, epoch
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
        return better

    def average(self, module: nn.Module) -> None:
        """Take the module's weights into the mean."""
        self.count += 1
        for name, tensor in module.state_dict().items():
            value = tensor.detach().cpu()
            if name not in self.mean or not value.is_floating_point():
                self.mean[name] = value.clone()
            else:
                self.mean[name] += (value - self.mean[name]) / self.count

    def to_state(self) -> dict[str, Any]:
        """As plain data; the fields are the arguments that read it back."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


@dataclass
class DevResult:
    """What the detector reaches on dev: rates and losses of the mixture and of each expert."""

    eer: float
    loss: float
    expert_eers: dict[str, float]
    expert_losses: dict[str, float]
    predictions: list[Prediction]


class DevSet:
    """The dev trials, scored again and again while weights change.

    Args:
        dev: labelled trials.
        policy: which windows of them are scored.
        progress: shows trials.
    """

    def __init__(self, dev: Protocol, policy: WindowPolicy, progress: Progress) -> None:
        self.dev, self.policy, self.progress = dev, policy, progress
        self.labels = np.array([label == BONA_FIDE for label in dev.frame["label"]])
        self._cached: tuple[list[list[int]], Tensor] | None = None
        self._fill: Callable[[], tuple[list[list[int]], Tensor]] | None = None

    def use(self, cache: FeatureCache, workers: int) -> None:
        """Judge by features that are computed once, when they are first needed."""

        def fill() -> tuple[list[list[int]], Tensor]:
            windows = DevWindows(self.dev.audio_paths(), self.policy)
            return windows.starts, cache.rows(windows.keys(), windows, workers, self.progress, "features of dev")

        self._fill = fill

    def result(
        self,
        detector: DetectorModel,
        own: Mapping[str, np.ndarray] | None = None,
        loss: DevLoss | None = None,
    ) -> DevResult:
        """Score dev with the weights as they are. Every process scores all of it, so that all choose alike.

        Args:
            detector: in training mode afterwards.
            own: the dev trials (boolean) of each expert's own figures; all where none are given.
            loss: the mean cross-entropy if None.
        """
        loss = loss or _cross_entropy
        predictions = self.predictions(detector)
        logits = np.array([trial.logit for trial in predictions])
        # An expert that was never run on a trial has no opinion.
        experts = np.nan_to_num(np.stack([trial.mean_expert_logits for trial in predictions]))
        every = np.ones(len(logits), dtype=bool)
        eers, losses = {}, {}
        for index, name in enumerate(detector.expert_names):
            trials = (own or {}).get(name, every)
            eers[name] = _eer(experts[trials, index], self.labels[trials])
            losses[name] = loss(experts[trials, index], self.labels[trials])
        return DevResult(_eer(logits, self.labels), loss(logits, self.labels), eers, losses, predictions)

    def predictions(self, detector: DetectorModel) -> list[Prediction]:
        """What the detector says of every dev trial; it is in training mode afterwards."""
        detector.eval()
        predictions = []
        if self._fill is not None:
            self._cached = self._cached or self._fill()
            return self._predict_from_features(detector, *self._cached)
        with self.progress("dev", len(self.dev)) as advance:
            for trial in predict(detector, protocol_trials(self.dev), self.policy, workers=1, batch_size=32):
                if trial.error is not None:
                    raise TrainingError(f"dev: {trial.error}")
                predictions.append(trial)
                advance(1)
        detector.train()
        return predictions

    def _predict_from_features(
        self, detector: DetectorModel, starts: list[list[int]], rows: Tensor
    ) -> list[Prediction]:
        device = next(detector.buffers()).device
        parts = []
        with torch.inference_mode():
            for batch in rows.split(1024):
                parts.append(output_rows(detector.predict_flat(batch.to(device))))
        detector.train()
        whole, predictions, first = np.concatenate(parts), [], 0
        for index, (path, own) in enumerate(zip(self.dev.audio_paths(), starts, strict=True)):
            predictions.append(Prediction(index, path, own))
            predictions[-1].take(whole[first : first + len(own)])
            first += len(own)
        return predictions


def _eer(logits: np.ndarray, labels: np.ndarray) -> float:
    return equal_error_rate(logits[labels], logits[~labels])


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    targets = torch.from_numpy(labels.astype(np.float32))
    return float(smoothed_cross_entropy(torch.from_numpy(logits), targets))
