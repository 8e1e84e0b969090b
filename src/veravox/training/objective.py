"""What a stage minimises on one batch."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from veravox.models.detector import DetectorModel
from veravox.models.mixture import MIN_NORM_WINDOWS, frozen_batch_norm, zero_anchor
from veravox.models.routers import load_imbalance
from veravox.training.division import Division
from veravox.training.losses import expert_losses, gate_entropy, mixture_loss, own_losses, probability_difference
from veravox.training.masking import FeatureMasks
from veravox.training.ranks import Ranks
from veravox.training.recipe import Stage, Training


class _Mixed(nn.Module):
    """The mixture judges every window: logits (B,), expert logits, gate weights, gate logits (B, E).

    A window alone, which is left over at the end of an epoch, is judged by the running statistics of batch norms.
    Where features are `cached`, rows of them (B, F) come in place of windows.
    """

    def __init__(self, detector: DetectorModel, masks: FeatureMasks | None, cached: bool = False) -> None:
        super().__init__()
        self.detector, self.masks, self.cached = detector, masks, cached

    def forward(self, windows: Tensor, numbers: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        alone = len(windows) * self.detector.spec.segments < MIN_NORM_WINDOWS
        with frozen_batch_norm(self.detector) if alone else nullcontext():
            if self.cached:
                output = self.detector.predict_flat(windows)
            elif self.masks is None or numbers is None:
                output = self.detector(windows)
            else:
                output = self.detector.predict_features(
                    self.masks(self.detector.extract(windows), numbers), windows
                )
        return output.logits, output.expert_logits, output.gate_weights, output.gate_logits


class _Own(nn.Module):
    """Every expert judges its own windows only: expert logits (B, E), 0 elsewhere, and which count (B, E).

    Windows of others would also enter an expert's batch norms. An expert with too few for them sits the batch out.
    """

    def __init__(self, detector: DetectorModel, masks: FeatureMasks | None) -> None:
        super().__init__()
        self.detector, self.masks = detector, masks

    def forward(self, windows: Tensor, owned: Tensor, numbers: Tensor | None) -> tuple[Tensor, Tensor]:
        features = self.detector.extract(windows)
        if self.masks is not None and numbers is not None:
            features = self.masks(features, numbers)
        columns = []
        heard = owned & (owned.sum(dim=0) >= MIN_NORM_WINDOWS)
        for index, (name, item) in enumerate(self.detector.spec.experts.items()):
            expert = self.detector.mixture.experts[name]
            rows = heard[:, index].nonzero().squeeze(1)
            column = windows.new_zeros(len(windows))
            if len(rows):
                heard_by_it = features[item.front_end].unflatten(0, (len(windows), -1))[rows].flatten(0, 1)
                logits = expert(heard_by_it).logits.reshape(len(rows), -1).mean(dim=1)  # over segments
                column = column.index_copy(0, rows, logits.to(column.dtype))
            else:
                # Joined to the loss all the same: processes that train together wait for every gradient.
                column = column + zero_anchor([expert])
            columns.append(column)
        return torch.stack(columns, dim=1), heard


class Objective:
    """The loss of one batch, from windows, targets and trial numbers.

    Args:
        detector: what learns.
        stage, training: what holds in the stage.
        division: which expert learns from which trial.
        ranks: this process among those that train together.
        device: where to compute.
        masks: what masks features, by the numbers that come with a batch.
    """

    def __init__(
        self,
        detector: DetectorModel,
        stage: Stage,
        training: Training,
        division: Division,
        ranks: Ranks,
        device: torch.device,
        masks: FeatureMasks | None = None,
    ) -> None:
        self.detector, self.stage, self.training = detector, stage, training
        self.ranks, self.device, self.masks = ranks, device, masks
        detector.runs_all = self.needs_all
        self.owned = None if division.owned is None else torch.from_numpy(division.owned)
        self.model: nn.Module = (
            _Mixed(detector, masks, bool(training.cache_copies)) if self.owned is None else _Own(detector, masks)
        )
        if ranks.count > 1:
            devices = [ranks.local_rank] if device.type == "cuda" else None
            self.model = nn.parallel.DistributedDataParallel(self.model, device_ids=devices)
        self.hooks = self._part_experts_from_gate()

    @property
    def needs_all(self) -> bool:
        """Whether every expert judges every window: for its own loss, to teach the gate alone, or for masks."""
        training = self.training
        alone = self.stage.trains == "experts" or self.masks is not None
        return alone or bool(training.expert_loss_weight) or not training.mixture_loss_weight

    @property
    def routing(self) -> str | None:
        """What becomes of experts that a sparse router leaves out in this stage; None without such a router."""
        mixture = self.detector.mixture
        if self.stage.trains == "experts" or not mixture.router.sparse:
            return None
        if mixture.skips_unselected and self.needs_all:
            why = "for masks" if self.masks is not None else "for their own losses or to teach the gate"
            return f"experts that are not chosen are run all the same, {why}"
        return mixture.routing

    def _part_experts_from_gate(self) -> list[Any]:
        """Where the mixture's loss may teach the gate alone, it does not flow on through embeddings."""
        if self.stage.trains == "experts" or self.training.mixture_loss_weight:
            return []
        mixture = self.detector.mixture
        entries = list(mixture.projections.values()) or [mixture.gate]
        return [
            entry.register_forward_pre_hook(lambda module, seen: tuple(one.detach() for one in seen))
            for entry in entries
        ]

    def close(self) -> None:
        """Leave the detector as it was."""
        for hook in self.hooks:
            hook.remove()
        self.detector.runs_all = False

    def __call__(self, windows: Tensor, targets: Tensor, trials: Tensor, numbers: Tensor | None = None) -> Tensor:
        """The loss, a scalar, of windows (B, S) with targets (B,) of the stage's trials (B,); see `Batch`."""
        windows, targets = windows.to(self.device), targets.to(self.device)
        numbers = None if numbers is None else numbers.to(self.device)
        smoothing = self.training.label_smoothing
        if self.owned is not None:
            owned = self.owned[trials].to(self.device)
            with _precision(self.training.precision, self.device):
                expert_logits, heard = self.model(windows, owned, numbers)
            share = heard if self.training.class_weights is None else heard * self._class_weights(targets)[:, None]
            # Gradients are averaged over processes; this makes it the mean over all their windows.
            counts = self.ranks.total(share.sum(dim=0).float()) / self.ranks.count
            return own_losses(self._in_loss(expert_logits), targets, smoothing, share, counts).sum()
        with _precision(self.training.precision, self.device):
            logits, expert_logits, gate_weights, gate_logits = self.model(windows, numbers)
        if self.stage.trains == "experts":
            return expert_losses(
                self._in_loss(expert_logits), targets, smoothing, self._trial_weights(targets)
            ).sum()
        return self._joint(logits, expert_logits, gate_weights, gate_logits, targets)

    def _in_loss(self, logits: Tensor) -> Tensor:
        """What the cross-entropy takes for logits: the difference of probabilities, where the recipe says so."""
        return logits if self.training.loss == "logits" else probability_difference(logits)

    def _class_weights(self, targets: Tensor) -> Tensor:
        assert self.training.class_weights is not None
        spoof, bona_fide = self.training.class_weights
        return torch.where(targets > 0.5, bona_fide, spoof)

    def _trial_weights(self, targets: Tensor) -> Tensor | None:
        """Weights of the trials by class, 1 in the mean over all processes."""
        if self.training.class_weights is None:
            return None
        weights = self._class_weights(targets)
        sums = self.ranks.total(torch.stack([weights.sum(), weights.new_tensor(float(len(weights)))]))
        return weights * (sums[1] / sums[0])

    def _joint(
        self, logits: Tensor, expert_logits: Tensor, gate_weights: Tensor, gate_logits: Tensor, targets: Tensor
    ) -> Tensor:
        training, weight = self.training, self.training.mixture_loss_weight
        if not weight:
            logits, weight = self.detector.mixture.mixed(gate_weights, expert_logits.detach()), 1.0
        if self.detector.mixture.mixing == "logits":
            logits = self._in_loss(logits)
        loss = mixture_loss(
            logits,
            self._in_loss(expert_logits),
            targets,
            training.label_smoothing,
            training.expert_loss_weight,
            weight,
            self._trial_weights(targets),
        )
        if training.gate_entropy_weight:
            loss = loss + training.gate_entropy_weight * gate_entropy(gate_logits)
        if training.load_balance_weight:
            loss = loss + training.load_balance_weight * load_imbalance(gate_logits.float(), gate_weights)
        return loss


def _precision(wanted: str, device: torch.device) -> AbstractContextManager[Any]:
    native = device.type == "cuda" and torch.cuda.is_bf16_supported()
    if device.type == "cpu":
        native = bool(getattr(torch.backends.cpu, "get_cpu_capability", str)() in ("AVX512_BF16", "AMX"))
    if wanted == "bfloat16" or (wanted == "auto" and native):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
