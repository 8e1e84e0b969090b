"""Arithmetic on lists of gradients, for the relatives of SAM; nothing here waits for the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Pair = tuple[Tensor, Tensor]
"""Of one parameter: its gradient in the first pass and in the second."""
TINY = 1e-30


def length_of(tensors: Sequence[Tensor]) -> Tensor | None:
    """L2 length of all together, in float32 whatever their type; None of none."""
    if not tensors:
        return None
    if {tensor.dtype for tensor in tensors} in ({torch.float32}, {torch.float64}):
        return nn.utils.get_total_norm(list(tensors))
    device = tensors[0].device
    lengths = [torch.linalg.vector_norm(tensor, dtype=_wide(tensor)).to(device) for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack([length.to(lengths[0].dtype) for length in lengths]))


@torch.no_grad()
def gsam_gradient(pairs: Sequence[Pair], alpha: float) -> None:
    """GSAM: take from each second gradient what would widen the gap to the perturbed loss, `alpha` times."""
    share = _inner(pairs) / _total([after.square().sum(dtype=_wide(after)) for _, after in pairs]).clamp(min=TINY)
    for before, after in pairs:
        # The part of the first gradient across the second one is what widens the gap.
        after.mul_(1.0 + alpha * share.to(after)).sub_(before, alpha=alpha)


@torch.no_grad()
def orthogonal_part(pairs: Sequence[Pair]) -> list[Tensor]:
    """LookSAM: the part of each second gradient across the first one, which stays useful for some steps."""
    share = _inner(pairs) / _total([before.square().sum(dtype=_wide(before)) for before, _ in pairs]).clamp(
        min=TINY
    )
    # Contiguous, as they come back from a file: a sum over another layout rounds otherwise, and resuming is exact.
    return [(after - share.to(after) * before).contiguous() for before, after in pairs]


@torch.no_grad()
def add_direction(pairs: Sequence[Pair], alpha: float) -> None:
    """LookSAM: add to each gradient (first of a pair) the remembered direction, `alpha` times as long as it."""
    gradient, direction = length_of([pair[0] for pair in pairs]), length_of([pair[1] for pair in pairs])
    if gradient is None or direction is None:
        return
    factor = torch.where(direction > 0, alpha * gradient / direction, torch.zeros_like(direction))
    for own, reused in pairs:
        own.add_(reused * factor.to(own))


@torch.no_grad()
def subtract_mean(
    parameters: Sequence[nn.Parameter], means: Mapping[int, Tensor], decay: float, sigma: float
) -> dict[int, Tensor]:
    """Friendly SAM: leave of each gradient what is special to its batch.

    Args:
        parameters: with gradients of the first pass, changed in place.
        means: running mean of the gradients so far, by the parameter's index.
        decay: of the running mean.
        sigma: share of it that is taken away.
    Returns:
        The new running means.
    """
    updated = {}
    for index, parameter in enumerate(parameters):
        gradient, before = parameter.grad, means.get(index)
        if gradient is None:
            if before is not None:
                updated[index] = before
            continue
        mean = (1.0 - decay) * gradient
        if before is not None:
            mean = mean + decay * before.to(gradient)
        updated[index] = mean
        gradient.sub_(mean, alpha=sigma)
    return updated


def _inner(pairs: Sequence[Pair]) -> Tensor:
    return _total([(before * after).sum(dtype=_wide(after)) for before, after in pairs])


def _total(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.to(parts[0].device) for part in parts]).sum()


def _wide(tensor: Tensor) -> torch.dtype:
    return tensor.dtype if tensor.dtype == torch.float64 else torch.float32


__all__ = ["add_direction", "gsam_gradient", "length_of", "orthogonal_part", "subtract_mean"]
