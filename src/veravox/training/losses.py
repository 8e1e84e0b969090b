"""Losses on logits: one logit, one sign (higher is more bona fide)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def smoothed_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of two classes, from the difference of their logits.

    Equal to the two-class cross-entropy with label smoothing on (spoof, bona fide) logits.

    Args:
        logits: (B,), bona fide minus spoof.
        targets: (B,), 1 for bona fide, 0 for spoof.
        label_smoothing: mass spread over both classes, in [0, 1).
    """
    smoothed = targets * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return binary_cross_entropy_with_logits(logits.float(), smoothed)


def mixture_loss(
    logits: Tensor, expert_logits: Tensor, targets: Tensor, label_smoothing: float, expert_weight: float
) -> Tensor:
    """Loss of the mixture's logit plus `expert_weight` times the mean of the experts' own losses.

    Args:
        logits: (B,).
        expert_logits: (B, E).
        targets: (B,).
    """
    loss = smoothed_cross_entropy(logits, targets, label_smoothing)
    if expert_weight:
        loss = loss + expert_weight * expert_losses(expert_logits, targets, label_smoothing).mean()
    return loss


def expert_losses(expert_logits: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
    """Each expert's own loss, shape (E,)."""
    columns = [smoothed_cross_entropy(column, targets, label_smoothing) for column in expert_logits.unbind(dim=1)]
    return torch.stack(columns)
