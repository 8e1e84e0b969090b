"""A small convolutional gate on a front end's features."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError
from veravox.models.gates import GATES, Gate


@GATES.register("features_conv")
class FeaturesConvGate(Gate):
    """Two convolutions along time on features (B, F, T), their mean and deviation over time, one linear layer.

    It needs no expert to have run, takes windows of any length, and costs a small part of an expert.

    Args:
        front_end: the detector's name of the front end whose features it sees; None for the first. Shared with
            experts, it runs once; a cheap one of its own is possible too.
        hidden: channels.
        kernel: frames that a convolution spans; each steps by two.
        dropout: before the linear layer.

    Source:
        Ours; the mixture papers' gates see the waveform or embeddings.
    """

    sees: ClassVar[Literal["waveform", "features", "embeddings"]] = "features"

    def __init__(
        self,
        experts: int,
        feature_shape: tuple[int, ...],
        front_end: str | None = None,
        hidden: int = 32,
        kernel: int = 5,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if len(feature_shape) != 2:
            raise ConfigurationError(
                f"gate 'features_conv' sees features (F, T), not {feature_shape} as its front end gives them; "
                "name a spectral one as its front_end"
            )
        if hidden < 1 or kernel < 1 or kernel % 2 == 0:
            raise ConfigurationError(f"gate 'features_conv': hidden {hidden}, kernel {kernel}; kernel must be odd")
        self.conv = nn.Sequential(
            nn.BatchNorm1d(feature_shape[0]),
            nn.Conv1d(feature_shape[0], hidden, kernel, stride=2, padding=kernel // 2),
            nn.LeakyReLU(),
            nn.Conv1d(hidden, hidden, kernel, stride=2, padding=kernel // 2),
            nn.LeakyReLU(),
        )
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(2 * hidden, experts))

    def forward(self, seen: Tensor) -> Tensor:
        hidden = self.conv(seen)  # (B, hidden, T / 4)
        variance, mean = torch.var_mean(hidden, dim=2, correction=0)
        return self.head(torch.cat([mean, torch.sqrt(variance + 1e-5)], dim=1))
