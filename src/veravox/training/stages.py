"""Stages of a training: what each fits, on which trials, with which loss."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from veravox.batches.training import Batch
from veravox.errors import ConfigurationError, suggest
from veravox.models.detector import DetectorModel
from veravox.models.routers import load_imbalance
from veravox.registry import check_options
from veravox.tables import Protocol
from veravox.training.division import Division, by_domain, random_partition
from veravox.training.forward import JointForward, MaskedForward
from veravox.training.learner import Learner
from veravox.training.losses import (
    expert_losses,
    gate_entropy,
    masked_expert_losses,
    mixture_loss,
    probability_difference,
    smoothed_cross_entropy,
    trial_weights,
)
from veravox.training.masking import FeatureMasks
from veravox.training.processes import Processes
from veravox.training.selection import DevLoss
from veravox.training.settings import Training, plain

SHARED_FIELDS = frozenset(item.name for item in dataclasses.fields(Training))


@dataclass(frozen=True)
class Stage(abc.ABC):
    """One part of a training.

    Args:
        name: for logs, and for `--set stages.NAME.FIELD=VALUE`.
        training: how its weights are fitted.
    """

    name: str
    training: Training = field(default_factory=Training)

    trains: ClassVar[str]

    @classmethod
    def own_fields(cls) -> list[str]:
        """Fields of this kind of stage alone."""
        return [item.name for item in dataclasses.fields(cls) if item.name not in ("name", "training")]

    def to_dict(self) -> dict[str, Any]:
        """Every field as plain data, those of `training` beside the stage's own."""
        own = {name: plain(getattr(self, name)) for name in self.own_fields()}
        return {"name": self.name, "trains": self.trains, **own, **self.training.to_dict()}

    @abc.abstractmethod
    def check(self, experts: Sequence[str]) -> None:
        """Check that what the stage asks for goes together.

        Raises:
            ConfigurationError: for a name that is no part of the detector, or fields that contradict each other.
        """

    @abc.abstractmethod
    def divide(self, experts: Sequence[str], train: Protocol, dev: Protocol, seed: int) -> Division:
        """The trials of the stage, and which expert learns from which.

        Raises:
            TrainingError: if an expert would learn from, or be chosen by, trials of one class or none.
        """

    @abc.abstractmethod
    def learner(
        self,
        detector: DetectorModel,
        division: Division,
        processes: Processes,
        device: torch.device,
        masks: FeatureMasks | None = None,
    ) -> Learner:
        """The detector as this stage trains it."""

    @abc.abstractmethod
    def loss(self, learner: Learner, batch: Batch) -> Tensor:
        """The loss of one batch, a scalar."""

    @abc.abstractmethod
    def frozen_parts(self, experts: Sequence[str]) -> set[str]:
        """Names of the parts that keep all their weights."""

    @abc.abstractmethod
    def selected_modules(self, detector: DetectorModel) -> dict[str, nn.Module]:
        """The modules whose best epoch is selected, by name: experts, or the `mixture`."""

    @property
    def gate_rate(self) -> float:
        """Learning rate of the gate, where `learning_rates` does not name it."""
        return self.training.learning_rate

    def dev_loss(self, detector: DetectorModel) -> DevLoss | None:
        """The loss by which epochs are chosen on dev, of logits and labels; None for the mean cross-entropy."""
        return self._own_dev_loss(self._in_loss) if self.training.choose == "least_loss" else None

    def _own_dev_loss(self, in_loss: Callable[[Tensor], Tensor]) -> DevLoss:
        def loss(logits: np.ndarray, labels: np.ndarray) -> float:
            targets, values = torch.from_numpy(labels.astype(np.float32)), torch.from_numpy(logits)
            share = float(targets.mean())
            weights = torch.where(targets > 0.5, 0.5 / share, 0.5 / (1.0 - share))
            return float(smoothed_cross_entropy(in_loss(values), targets, self.training.label_smoothing, weights))

        return loss

    def routing(self, detector: DetectorModel, masked: bool) -> str | None:
        """What becomes of experts that a sparse router leaves out in this stage; None where nothing does."""
        return None

    def _frozen_by_name(self, experts: Sequence[str]) -> set[str]:
        frozen = {name for name in self.training.freeze if "." not in name}
        return frozen | set(experts) if "experts" in frozen else frozen

    def _check_names(self, experts: Sequence[str]) -> None:
        parts = [*experts, "experts", "gate", "front_ends"]
        self._check_known("freeze", [name.partition(".")[0] for name in self.training.freeze], parts)
        self._check_known("learning_rates", self.training.learning_rates, parts)

    def _check_known(self, option: str, names: Sequence[str] | Mapping[str, Any], known: Sequence[str]) -> None:
        for name in names:
            if name not in known:
                raise ConfigurationError(
                    f"stage {self.name!r}, {option}: no part {name!r}; {suggest(name, known)}"
                )

    def _in_loss(self, logits: Tensor) -> Tensor:
        """What the cross-entropy takes for logits: the difference of probabilities, where the recipe says so."""
        return logits if self.training.loss == "logits" else probability_difference(logits)


@dataclass(frozen=True)
class TrainExperts(Stage):
    """Fits each expert by itself, with its own loss; front ends and gate keep their weights.

    Args:
        domains: the domain that each expert learns from, `*` for all of them; empty if every expert learns from
            every trial.
        partition: whether every trial belongs to one expert, drawn by the recipe's seed.
    """

    trains: ClassVar[str] = "experts"

    domains: Mapping[str, str] = field(default_factory=dict)
    partition: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "domains", dict(self.domains))
        if self.domains and self.partition:
            raise ConfigurationError(
                f"stage {self.name!r}: either domains or partition divide the trials, not both"
            )
        if self.training.cache_copies and (self.domains or self.partition):
            raise ConfigurationError(
                f"stage {self.name!r}: cache_copies is for stages whose experts all learn from all trials, not "
                "with domains or partition"
            )

    def check(self, experts: Sequence[str]) -> None:
        self._check_names(experts)
        self._check_known("domains", self.domains, experts)
        missing = [name for name in experts if name not in self.domains and name not in self.training.freeze]
        if self.domains and missing:
            raise ConfigurationError(
                f"stage {self.name!r}: no domain for {', '.join(missing)}; name one, '*' for all, or freeze it"
            )

    def divide(self, experts: Sequence[str], train: Protocol, dev: Protocol, seed: int) -> Division:
        balance = self.training.balance
        if self.domains:
            return by_domain(self.name, self.domains, balance, experts, train, dev)
        if self.partition:
            learners = [name for name in experts if name not in self.training.freeze]
            return random_partition(self.name, learners, balance, experts, train, seed)
        return Division(train, balance)

    def learner(
        self,
        detector: DetectorModel,
        division: Division,
        processes: Processes,
        device: torch.device,
        masks: FeatureMasks | None = None,
    ) -> Learner:
        precision = self.training.precision
        if division.owned is None:
            forward = JointForward(detector, masks, bool(self.training.cache_copies))
            return Learner(detector, forward, processes, device, precision, runs_all=True)
        owned = torch.from_numpy(division.owned)
        return Learner(
            detector, MaskedForward(detector, masks), processes, device, precision, owned, runs_all=True
        )

    def loss(self, learner: Learner, batch: Batch) -> Tensor:
        """Sum of the experts' losses, each a mean over the windows that it learns from."""
        training, processes = self.training, learner.processes
        windows, targets, draws = (
            part.to(learner.device) for part in (batch.windows, batch.targets, batch.mask_draws)
        )
        weights = trial_weights(targets, training.class_weights)
        if learner.owned is None:
            with learner.precision():
                _, expert_logits, _, _ = learner.network(windows, draws)
            weights = processes.normalised(weights)
            return expert_losses(self._in_loss(expert_logits), targets, training.label_smoothing, weights).sum()
        owned = learner.owned[batch.trials].to(learner.device)
        with learner.precision():
            expert_logits, counted = learner.network(windows, owned, draws)
        share = counted if weights is None else counted * weights[:, None]
        # Gradients are averaged over processes; this makes it the mean over all their windows.
        counts = processes.total(share.sum(dim=0).float()) / processes.count
        return masked_expert_losses(
            self._in_loss(expert_logits), targets, training.label_smoothing, share, counts
        ).sum()

    def frozen_parts(self, experts: Sequence[str]) -> set[str]:
        # A front end that experts share must not be pulled by one while another trains alone.
        return self._frozen_by_name(experts) | {"gate", "front_ends"}

    def selected_modules(self, detector: DetectorModel) -> dict[str, nn.Module]:
        return dict(detector.mixture.experts.items())


@dataclass(frozen=True)
class TrainJointly(Stage):
    """Fits the mixture: experts, gate and front ends, unless they are frozen.

    Args:
        mixture_loss_weight: of the mixture's loss; at 0 it still teaches the gate, but no expert.
        expert_loss_weight: of the mean of the experts' own losses.
        gate_entropy_weight: of the gate's mean entropy; positive sharpens its decisions, negative spreads them.
        load_balance_weight: of `load_imbalance`, which is least where experts are used alike.
        gate_learning_rate: of the gate and projections; None for `learning_rate`.
    """

    trains: ClassVar[str] = "joint"

    mixture_loss_weight: float = 1.0
    expert_loss_weight: float = 0.0
    gate_entropy_weight: float = 0.0
    load_balance_weight: float = 0.0
    gate_learning_rate: float | None = None

    def __post_init__(self) -> None:
        for name in ("mixture_loss_weight", "expert_loss_weight", "load_balance_weight"):
            if getattr(self, name) < 0:
                raise ConfigurationError(
                    f"stage {self.name!r}: {name} must not be negative, not {getattr(self, name)}"
                )
        if self.gate_learning_rate is not None and not 0 < self.gate_learning_rate < float("inf"):
            raise ConfigurationError(
                f"stage {self.name!r}: learning rates must be positive and finite, not gate_learning_rate "
                f"{self.gate_learning_rate}"
            )

    @property
    def gate_rate(self) -> float:
        return self.gate_learning_rate or self.training.learning_rate

    def check(self, experts: Sequence[str]) -> None:
        self._check_names(experts)
        frozen = self._frozen_by_name(experts)
        learning = [name for name in experts if name not in frozen]
        if learning and not self.mixture_loss_weight and not self.expert_loss_weight:
            raise ConfigurationError(
                f"stage {self.name!r}: no loss reaches the experts; set mixture_loss_weight or "
                "expert_loss_weight, or freeze: [experts]"
            )

    def divide(self, experts: Sequence[str], train: Protocol, dev: Protocol, seed: int) -> Division:
        return Division(train, self.training.balance)

    def learner(
        self,
        detector: DetectorModel,
        division: Division,
        processes: Processes,
        device: torch.device,
        masks: FeatureMasks | None = None,
    ) -> Learner:
        mixture = detector.mixture
        # Where the mixture's loss teaches the gate alone, it does not flow on through embeddings.
        detached = [] if self.mixture_loss_weight else list(mixture.projections.values()) or [mixture.gate]
        return Learner(
            detector,
            JointForward(detector, masks, bool(self.training.cache_copies)),
            processes,
            device,
            self.training.precision,
            runs_all=self.runs_all_experts(masks is not None),
            detached=detached,
        )

    def dev_loss(self, detector: DetectorModel) -> DevLoss | None:
        mixes_logits = detector.mixture.mixing == "logits"
        in_loss = self._in_loss if mixes_logits else (lambda logits: logits)
        return self._own_dev_loss(in_loss) if self.training.choose == "least_loss" else None

    def runs_all_experts(self, masked: bool) -> bool:
        """Whether every expert runs on every window: for its own loss, to teach the gate alone, or for masks."""
        return masked or bool(self.expert_loss_weight) or not self.mixture_loss_weight

    def routing(self, detector: DetectorModel, masked: bool) -> str | None:
        mixture = detector.mixture
        if not mixture.router.sparse:
            return None
        if mixture.skips_unselected and self.runs_all_experts(masked):
            why = "for masks" if masked else "for their own losses or to teach the gate"
            return f"experts that are not chosen are run all the same, {why}"
        return mixture.routing

    def loss(self, learner: Learner, batch: Batch) -> Tensor:
        """The weighted sum of the mixture's loss, the experts' own, and the terms of the gate."""
        training, mixture, weight = self.training, learner.detector.mixture, self.mixture_loss_weight
        windows, targets, draws = (
            part.to(learner.device) for part in (batch.windows, batch.targets, batch.mask_draws)
        )
        with learner.precision():
            logits, expert_logits, gate_weights, gate_logits = learner.network(windows, draws)
        if not weight:
            logits, weight = mixture.mixed(gate_weights, expert_logits.detach()), 1.0
        if mixture.mixing == "logits":
            logits = self._in_loss(logits)
        loss = mixture_loss(
            logits,
            self._in_loss(expert_logits),
            targets,
            training.label_smoothing,
            self.expert_loss_weight,
            weight,
            learner.processes.normalised(trial_weights(targets, training.class_weights)),
        )
        if self.gate_entropy_weight:
            loss = loss + self.gate_entropy_weight * gate_entropy(gate_logits)
        if self.load_balance_weight:
            loss = loss + self.load_balance_weight * load_imbalance(gate_logits.float(), gate_weights)
        return loss

    def frozen_parts(self, experts: Sequence[str]) -> set[str]:
        return self._frozen_by_name(experts)

    def selected_modules(self, detector: DetectorModel) -> dict[str, nn.Module]:
        return {"mixture": detector}


STAGES: Mapping[str, type[Stage]] = {kind.trains: kind for kind in (TrainExperts, TrainJointly)}
"""Kinds of stages by the word for them in a recipe's `trains`."""


def parse_stage(value: Any, shared: Mapping[str, Any] | None = None) -> Stage:
    """Read a stage from a mapping with `name`, `trains`, fields of its kind and of `Training`.

    Args:
        value: plain data, or a stage.
        shared: fields that hold unless the stage has its own; those of other kinds of stages are left out.
    Raises:
        ConfigurationError: naming the field and the nearest word.
    """
    if isinstance(value, Stage):
        return value
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise ConfigurationError(f"a stage is a mapping with 'name' and 'trains'; got {value!r}")
    name, trains = value["name"], str(value.get("trains"))
    if trains not in STAGES:
        raise ConfigurationError(
            f"stage {name!r}: 'trains' must be one of {', '.join(map(repr, STAGES))}, not {trains!r}"
        )
    kind, owner = STAGES[trains], f"stage {name!r}"
    fields = {key: item for key, item in value.items() if key not in ("name", "trains")}
    for key in fields:
        _check_field(owner, kind, key)
    known = SHARED_FIELDS | set(kind.own_fields())
    fields = {key: item for key, item in (shared or {}).items() if key in known} | fields
    own = {key: item for key, item in fields.items() if key not in SHARED_FIELDS}
    training = Training.parse(owner, {key: item for key, item in fields.items() if key in SHARED_FIELDS})
    check_options(owner, kind, {"name": name, "training": training, **own})
    return kind(name, training, **own)


def _check_field(owner: str, kind: type[Stage], key: str) -> None:
    if key in SHARED_FIELDS or key in kind.own_fields():
        return
    for other in STAGES.values():
        if key in other.own_fields():
            word = "experts" if other is TrainExperts else "jointly"
            raise ConfigurationError(f"{owner}: {key!r} is for stages that train {word}")
    raise ConfigurationError(
        f"{owner} has no option {key!r}; {suggest(key, SHARED_FIELDS | set(kind.own_fields()))}"
    )


__all__ = ["SHARED_FIELDS", "STAGES", "Stage", "TrainExperts", "TrainJointly", "parse_stage"]
