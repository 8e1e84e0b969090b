"""Residual network of the ResNet-18 shape, width and depth as options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from veravox.errors import ConfigurationError
from veravox.models.experts import EXPERTS, Expert, ExpertOutput, two_class_output
from veravox.models.layers.batch_norm import BatchNorm


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a skip; the first halves both axes if `stride` is 2."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False),
            BatchNorm(channels_out),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
            BatchNorm(channels_out),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.skip = nn.Sequential(nn.Conv2d(channels_in, channels_out, 1, bias=False), BatchNorm(channels_out))
        self.stride = stride
        self.activate = nn.ReLU(inplace=True)

    def forward(self, inputs: Tensor) -> Tensor:
        # The skip's stride is a slice: a strided 1x1 convolution of fewer than 8 channels_last channels writes
        # outside its memory on the way back (torch 2.13, CPU).
        kept = inputs if self.stride == 1 else inputs[..., :: self.stride, :: self.stride]
        return self.activate(self.body(inputs) + self.skip(kept))


@EXPERTS.register("resnet")
class ResNet(Expert):
    """ResNet of basic blocks on spectral features (B, F, T) of any length; slim by default: 0.7 M parameters.

    Args:
        widths: channels of each stage; (64, 128, 256, 512) is ResNet-18.
        depths: blocks of each stage.
        dropout: before the head.

    Source:
        He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
    """

    inductive_bias = (
        "patterns of growing size, averaged over the window, so what is spread over time and frequency"
    )

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        return {"widths": (4, 8), "depths": (1, 1)}

    def __init__(
        self,
        widths: tuple[int, ...] = (16, 32, 64, 128),
        depths: tuple[int, ...] = (2, 2, 2, 2),
        dropout: float = 0.0,
        feature_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        if feature_shape is not None and len(feature_shape) != 2:
            raise ConfigurationError(
                f"expert 'resnet' needs spectral features (F, T); features here have shape {feature_shape}"
            )
        if len(widths) != len(depths) or not widths:
            raise ConfigurationError(f"expert 'resnet': widths {widths} and depths {depths} must be of one length")
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 7, stride=2, padding=3, bias=False),
            BatchNorm(widths[0]),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        blocks: list[nn.Module] = []
        channels = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for index in range(depth):
                blocks.append(ResidualBlock(channels, width, 2 if stage and index == 0 else 1))
                channels = width
        self.body = nn.Sequential(*blocks)
        self.embedding_size = channels
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, 2))

    def forward(self, features: Tensor) -> ExpertOutput:
        embeddings = self.body(self.stem(features.unsqueeze(1))).mean(dim=(2, 3))
        return two_class_output(self.head(embeddings), embeddings)
