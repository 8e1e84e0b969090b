"""The forward passes of a training step: the whole mixture, or each expert on its own windows."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from veravox.models.detector import DetectorModel
from veravox.models.mixture import MIN_NORM_WINDOWS, frozen_batch_norm, zero_anchor
from veravox.training.masking import FeatureMasks


class JointForward(nn.Module):
    """Every expert on every window: logits (B,), expert logits, gate weights, gate logits (B, E).

    A single window, left over at the end of an epoch, meets the running statistics of batch norms.

    Args:
        detector: the network that learns.
        masks: masks of its features; None for none.
        cached: whether rows of cached features (B, F) come in place of windows (B, S).
    """

    def __init__(self, detector: DetectorModel, masks: FeatureMasks | None, cached: bool = False) -> None:
        super().__init__()
        self.detector, self.masks, self.cached = detector, masks, cached

    def forward(self, windows: Tensor, mask_draws: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        single = len(windows) * self.detector.spec.segments < MIN_NORM_WINDOWS
        with frozen_batch_norm(self.detector) if single else nullcontext():
            if self.cached:
                output = self.detector.predict_flat(windows)
            elif self.masks is None or mask_draws is None:
                output = self.detector(windows)
            else:
                output = self.detector.predict_features(
                    self.masks(self.detector.extract(windows), mask_draws), windows
                )
        return output.logits, output.expert_logits, output.gate_weights, output.gate_logits


class MaskedForward(nn.Module):
    """Every expert on its own windows: expert logits (B, E), 0 elsewhere, and which of them count (B, E).

    Windows of others would also enter an expert's batch norms. An expert with too few for them sits the batch out.

    Args:
        detector: the network that learns.
        masks: masks of its features; None for none.
    """

    def __init__(self, detector: DetectorModel, masks: FeatureMasks | None) -> None:
        super().__init__()
        self.detector, self.masks = detector, masks

    def forward(self, windows: Tensor, owned: Tensor, mask_draws: Tensor | None) -> tuple[Tensor, Tensor]:
        features = self.detector.extract(windows)
        if self.masks is not None and mask_draws is not None:
            features = self.masks(features, mask_draws)
        columns = []
        counted = owned & (owned.sum(dim=0) >= MIN_NORM_WINDOWS)
        for index, (name, item) in enumerate(self.detector.spec.experts.items()):
            expert = self.detector.mixture.experts[name]
            rows = counted[:, index].nonzero().squeeze(1)
            column = windows.new_zeros(len(windows))
            if len(rows):
                own_features = features[item.front_end].unflatten(0, (len(windows), -1))[rows].flatten(0, 1)
                logits = expert(own_features).logits.reshape(len(rows), -1).mean(dim=1)  # over segments
                column = column.index_copy(0, rows, logits.to(column.dtype))
            else:
                # Joined to the loss all the same: processes that train together wait for every gradient.
                column = column + zero_anchor([expert])
            columns.append(column)
        return torch.stack(columns, dim=1), counted
