"""The light CNN of the mixture papers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError
from veravox.models.batch_norm import BatchNorm
from veravox.models.experts import EXPERTS, Expert, ExpertOutput, two_class_output

LEAST = 8
"""Bins and frames that three poolings leave one of."""


class _HalvesMaximum(torch.autograd.Function):
    """Maximum of two channel halves; one mask and two writes back, where autograd would pad and add."""

    @staticmethod
    def forward(ctx, inputs: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        first, second = inputs.chunk(2, dim=1)
        ctx.save_for_backward(first >= second)
        ctx.layout = inputs
        return torch.maximum(first, second)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
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


def _convolution(channels_in: int, channels_out: int, kernel: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2), MaxFeatureMap()]


@EXPERTS.register("lcnn")
class LCNN(Expert):
    """Nine convolutions with max-feature-map; 682,690 parameters. Features (B, F, T), from 8 bins and 8 frames.

    Args:
        width: all channel counts times this; 1 is the published network.
        start: of linear layers: `torch`'s default, or `xavier`, uniform with biases of 0.01, as published.

    Source:
        The experts of the mixture papers; trunk after Lavrentyeva et al., STC Antispoofing Systems, 2019.
    """

    inductive_bias = (
        "local spectro-temporal patterns, the strongest of each region; keeps a coarse time-frequency map"
    )

    def __init__(
        self,
        width: float = 1.0,
        start: Literal["torch", "xavier"] = "torch",
        feature_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        if feature_shape is not None and (len(feature_shape) != 2 or min(feature_shape) < LEAST):
            raise ConfigurationError(
                f"expert 'lcnn' needs spectral features of at least {LEAST} bins and {LEAST} frames; "
                f"features here have shape {feature_shape}"
            )
        if not 0 < width <= 4:
            raise ConfigurationError(f"expert 'lcnn': width must be in (0, 4], not {width:g}")
        c32, c48, c64 = (max(1, round(width * channels)) for channels in (32, 48, 64))
        self.trunk = nn.Sequential(
            *_convolution(1, 2 * c32, 5),
            nn.MaxPool2d(2),
            *_convolution(c32, 2 * c32, 1),
            BatchNorm(c32),
            *_convolution(c32, 2 * c48, 3),
            nn.MaxPool2d(2),
            BatchNorm(c48),
            *_convolution(c48, 2 * c48, 1),
            BatchNorm(c48),
            *_convolution(c48, 2 * c64, 3),
            nn.MaxPool2d(2),
            *_convolution(c64, 2 * c64, 1),
            BatchNorm(c64),
            *_convolution(c64, 2 * c32, 3),
            BatchNorm(c32),
            *_convolution(c32, 2 * c32, 1),
            BatchNorm(c32),
            *_convolution(c32, 2 * c32, 3),
            nn.AdaptiveMaxPool2d((16, 8)),
        )
        self.embedding_size = c64
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(c32 * 16 * 8, 2 * c64), MaxFeatureMap())
        self.normalise = nn.BatchNorm1d(c64)
        self.head = nn.Linear(c64, 2)
        if start == "xavier":
            for layer in (one for one in self.modules() if isinstance(one, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.constant_(layer.bias, 0.01)

    def forward(self, features: Tensor) -> ExpertOutput:
        embeddings = self.embed(self.trunk(features.unsqueeze(1)))
        return two_class_output(self.head(self.normalise(embeddings)), embeddings)
