"""The residual encoder of AASIST, shared by its heads on waveforms and on self-supervised features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from veravox.models.layers.batch_norm import BatchNorm
from veravox.models.layers.convolution import Convolution

POOL = 3
"""Frames that a pooling joins."""


def _convolve(inputs: Tensor, convolution: nn.Conv2d, normalise: BatchNorm) -> Tensor:
    """Convolution and batch norm; in evaluation mode the norm is folded into the kernel."""
    if normalise.training:
        return normalise(convolution(inputs))
    assert normalise.running_mean is not None
    assert normalise.running_var is not None
    assert convolution.bias is not None
    scale = normalise.weight * torch.rsqrt(normalise.running_var + normalise.eps)
    kernel = convolution.weight * scale[:, None, None, None]
    offset = (convolution.bias - normalise.running_mean) * scale + normalise.bias
    return functional.conv2d(inputs, kernel, offset, padding=convolution.padding)


class EncoderBlock(nn.Module):
    """(B, C_in, F, T) to (B, C_out, F, T or T // 3): two convolutions of 2 bins x 3 frames and a skip.

    In every block but the first of the published network, a batch norm and SELU of the input are computed
    and then discarded. Their weights are kept here, so that checkpoints fit, and take no part.
    """

    def __init__(self, size_in: int, size_out: int, first: bool = False, pool: bool = True) -> None:
        super().__init__()
        self.discarded = None if first else BatchNorm(size_in).requires_grad_(False)
        self.conv1 = Convolution(size_in, size_out, (2, 3), rows=1)
        self.normalise = BatchNorm(size_out)
        self.conv2 = Convolution(size_out, size_out, (2, 3), rows=0)
        self.skip = Convolution(size_in, size_out, (1, 3), rows=0) if size_in != size_out else None
        self.pool = pool

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.selu(_convolve(inputs, self.conv1, self.normalise), inplace=True)
        outputs = self.conv2(hidden)
        outputs += inputs if self.skip is None else self.skip(inputs)
        return functional.max_pool2d(outputs, (1, POOL)) if self.pool else outputs


def residual_encoder(widths: tuple[int, int], pool: bool = True) -> nn.Sequential:
    """The six residual blocks: 1 to widths[0], then two of that width and four of widths[1]."""
    low, high = widths
    sizes = [(1, low), (low, low), (low, high), (high, high), (high, high), (high, high)]
    return nn.Sequential(*(EncoderBlock(*size, first=index == 0, pool=pool) for index, size in enumerate(sizes)))
