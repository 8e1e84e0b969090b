"""Max-feature-map activation of the light CNNs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class _HalvesMaximum(torch.autograd.Function):
    """Maximum of two channel halves; one mask and two writes back, where autograd would pad and add."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        first, second = inputs.chunk(2, dim=1)
        ctx.save_for_backward(first >= second)
        ctx.layout = inputs
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (mask,) = ctx.saved_tensors
        half = mask.shape[1]
        result = torch.empty_like(ctx.layout, dtype=gradient.dtype)
        torch.mul(gradient, mask, out=result[:, :half])
        torch.sub(gradient, result[:, :half], out=result[:, half:])
        return result


class MaxFeatureMap(nn.Module):
    """Element-wise maximum of the two halves of the channels: (B, 2C, ...) to (B, C, ...).

    Source:
        Wu et al., A Light CNN for Deep Face Representation with Noisy Labels, IEEE TIFS 2018.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        if torch.is_grad_enabled() and inputs.requires_grad:
            return _HalvesMaximum.apply(inputs)
        first, second = inputs.chunk(2, dim=1)
        return torch.maximum(first, second)


def mfm_convolution(channels_in: int, channels_out: int, kernel: int) -> list[nn.Module]:
    """A convolution that keeps bins and frames, and the maximum of its channel halves: channels_out / 2 remain."""
    return [nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2), MaxFeatureMap()]
