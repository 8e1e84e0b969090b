"""Losses on logits: one logit, one sign (higher is more bona fide)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def smoothed_cross_entropy(
    logits: Tensor, targets: Tensor, label_smoothing: float = 0.0, weights: Tensor | None = None
) -> Tensor:
    """Mean cross-entropy of two classes, from the difference of their logits.

    Equal to the two-class cross-entropy with label smoothing on (spoof, bona fide) logits.

    Args:
        logits: (B,), bona fide minus spoof.
        targets: (B,), 1 for bona fide, 0 for spoof.
        label_smoothing: mass spread over both classes, in [0, 1).
        weights: (B,), of the trials, 1 in the mean; None for all alike.
    """
    smoothed = targets * (1.0 - label_smoothing) + 0.5 * label_smoothing
    return binary_cross_entropy_with_logits(logits.float(), smoothed, weights)


def probability_difference(logits: Tensor) -> Tensor:
    """Probability of bona fide minus that of spoof: the logit of a cross-entropy that is given softmax outputs."""
    return torch.tanh(logits / 2)


def trial_weights(targets: Tensor, class_weights: tuple[float, float] | None) -> Tensor | None:
    """Weights of trials by class, shape (B,); None where classes weigh alike.

    Args:
        targets: (B,), 1 for bona fide.
        class_weights: of spoof and of bona fide.
    """
    if class_weights is None:
        return None
    spoof, bona_fide = class_weights
    return torch.where(targets > 0.5, bona_fide, spoof)


def weighted_cross_entropy(
    logits: Tensor, targets: Tensor, class_weights: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """Cross-entropy of a batch, weighted by class and divided by the sum of the weights.

    Args:
        logits, targets: (B,); targets are 1 for bona fide.
        class_weights: of spoof and of bona fide.
    """
    weights = torch.where(targets > 0.5, class_weights[1], class_weights[0])
    losses = binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return (weights * losses).sum() / weights.sum()


def mixture_loss(
    logits: Tensor,
    expert_logits: Tensor,
    targets: Tensor,
    label_smoothing: float,
    expert_weight: float,
    mixture_weight: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """`mixture_weight` times the mixture's loss plus `expert_weight` times the mean of the experts' own.

    Args:
        logits: (B,).
        expert_logits: (B, E).
        targets: (B,).
        weights: (B,), of the trials, 1 in the mean; None for all alike.
    """
    loss = smoothed_cross_entropy(logits, targets, label_smoothing, weights)
    if mixture_weight != 1.0:
        loss = mixture_weight * loss
    if expert_weight:
        loss = loss + expert_weight * expert_losses(expert_logits, targets, label_smoothing, weights).mean()
    return loss


def gate_entropy(gate_logits: Tensor) -> Tensor:
    """Mean entropy of the gate's decisions (B, E): 0 if each names one expert, log E if none prefers any."""
    logarithms = gate_logits.float().log_softmax(dim=1)
    return -(logarithms.exp() * logarithms).sum(dim=1).mean()


def expert_losses(
    expert_logits: Tensor, targets: Tensor, label_smoothing: float, weights: Tensor | None = None
) -> Tensor:
    """Each expert's own loss, shape (E,)."""
    columns = [
        smoothed_cross_entropy(column, targets, label_smoothing, weights) for column in expert_logits.unbind(dim=1)
    ]
    return torch.stack(columns)


def masked_expert_losses(
    expert_logits: Tensor, targets: Tensor, label_smoothing: float, owned: Tensor, counts: Tensor
) -> Tensor:
    """Each expert's loss summed over its own windows, divided by `counts`: shape (E,), 0 where it has none.

    Args:
        expert_logits: (B, E).
        targets: (B,).
        owned: (B, E), whether the expert learns from the window, or how much that counts.
        counts: (E,), windows to divide by; over all processes where several train together.
    """
    smoothed = (targets * (1.0 - label_smoothing) + 0.5 * label_smoothing)[:, None].expand_as(expert_logits)
    each = binary_cross_entropy_with_logits(expert_logits.float(), smoothed, reduction="none")
    return (each * owned).sum(dim=0) / torch.where(counts > 0, counts, 1.0)
