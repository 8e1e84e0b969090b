"""Batch norm whose statistics are exact also where channels lie last in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

BLOCK_NUMBERS = 1 << 17
"""Numbers in a block: half a megabyte in float32, so that what is read again is still near the processor."""


def _rows(image: Tensor) -> Tensor:
    """(B, C, F, T) as (B x F x T, C), without a copy where channels lie last."""
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])


def _blocks(*tables: Tensor) -> Iterator[tuple[Tensor, ...]]:
    size = max(1, BLOCK_NUMBERS // tables[0].shape[1])
    return zip(*(table.split(size) for table in tables), strict=True)


def _statistics(rows: Tensor, wide: torch.dtype) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of each column, in float64: sums of a block are added up in float64."""
    few = rows[:: max(1, len(rows) // 256)].to(wide).mean(dim=0)  # close to the mean, so that squares stay small
    totals = torch.zeros(2, rows.shape[1], dtype=torch.float64)
    for (block,) in _blocks(rows):
        away = block - few
        totals[0] += away.sum(dim=0)
        totals[1] += away.square_().sum(dim=0)
    aside, square = totals / len(rows)
    return few.double() + aside, (square - aside.square()).clamp(min=0)


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) x weight + bias over the batch; also gives mean and biased variance."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        wide = torch.promote_types(inputs.dtype, torch.float32)
        rows = _rows(inputs)
        mean, variance = _statistics(rows, wide)
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(inputs, weight, mean, scale)
        ctx.eps = eps
        middle, factor = mean.to(wide), (scale if weight is None else scale * weight).to(wide)
        offset = torch.zeros_like(middle) if bias is None else bias.to(wide)
        outputs = torch.empty_like(inputs)
        for block, result in _blocks(rows, _rows(outputs)):
            torch.addcmul(offset, block - middle, factor, out=result)
        ctx.mark_non_differentiable(mean, variance)
        return outputs, mean, variance

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor, *unused: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        inputs, weight, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to have a gradient
            return *_differentiable(inputs, weight, gradient, ctx.eps), None
        wide = torch.promote_types(inputs.dtype, torch.float32)
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        rows, grad_rows, middle = _rows(inputs), _rows(gradient), mean.to(wide)
        totals = torch.zeros(2, rows.shape[1], dtype=torch.float64)
        for block, above in _blocks(rows, grad_rows):
            totals[0] += above.sum(dim=0, dtype=wide)
            totals[1] += (block - middle).mul_(above).sum(dim=0)
        total, along = totals[0], totals[1] * scale
        to_inputs = None
        if ctx.needs_input_grad[0]:
            factor = scale if weight is None else scale * weight
            slope, offset = (-factor * scale * along / len(rows)).to(wide), (-factor * total / len(rows)).to(wide)
            factor = factor.to(wide)
            to_inputs = torch.empty_like(gradient)
            for block, above, result in _blocks(rows, grad_rows, _rows(to_inputs)):
                # offset + above x factor + (x - mean) x slope
                torch.add(torch.addcmul(offset, above, factor), (block - middle).mul_(slope), out=result)
        to_weight = along.to(weight.dtype) if weight is not None and ctx.needs_input_grad[1] else None
        to_bias = total.to(weight.dtype) if weight is not None and ctx.needs_input_grad[2] else None
        return to_inputs, to_weight, to_bias, None


def _differentiable(
    inputs: Tensor, weight: Tensor | None, gradient: Tensor, eps: float
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """The same gradients of inputs, weight and bias, by steps that autograd can follow."""
    over = (0, 2, 3)
    away = inputs - inputs.mean(dim=over, keepdim=True)
    scale = torch.rsqrt(away.square().mean(dim=over, keepdim=True) + eps)
    normal = away * scale
    total, along = gradient.sum(dim=over), (gradient * normal).sum(dim=over)
    factor = scale if weight is None else scale * weight[:, None, None]
    count = inputs.numel() // inputs.shape[1]
    to_inputs = factor * (gradient - (total[:, None, None] + normal * along[:, None, None]) / count)
    return (to_inputs, None, None) if weight is None else (to_inputs, along, total)


class BatchNorm(nn.BatchNorm2d):
    """`nn.BatchNorm2d` that is as exact with channels last as without.

    On processors, torch's own adds up float32 numbers one by one there: at AASIST's published batch a variance is
    8 % wrong, and depends on the number of threads.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        lies_last = inputs.is_contiguous(memory_format=torch.channels_last) and not inputs.is_contiguous()
        if not self.training or not lies_last or inputs.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(inputs)
        outputs, mean, variance = _Normalise.apply(inputs, self.weight, self.bias, self.eps)
        self._gather(mean, variance, inputs.numel() // inputs.shape[1])
        result: Tensor = outputs
        return result

    @torch.no_grad()
    def _gather(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_((variance * count / (count - 1)).to(self.running_var.dtype), share)
