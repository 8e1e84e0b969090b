"""The light CNN of the mixture papers."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from veravox.errors import ConfigurationError
from veravox.models.experts import EXPERTS, Expert, ExpertOutput, two_class_output
from veravox.models.layers.batch_norm import BatchNorm
from veravox.models.layers.max_feature_map import MaxFeatureMap, mfm_convolution

MIN_BINS = 8
"""Bins and frames that three poolings leave one of."""


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
        if feature_shape is not None and (len(feature_shape) != 2 or min(feature_shape) < MIN_BINS):
            raise ConfigurationError(
                f"expert 'lcnn' needs spectral features of at least {MIN_BINS} bins and {MIN_BINS} frames; "
                f"features here have shape {feature_shape}"
            )
        if not 0 < width <= 4:
            raise ConfigurationError(f"expert 'lcnn': width must be in (0, 4], not {width:g}")
        c32, c48, c64 = (max(1, round(width * channels)) for channels in (32, 48, 64))
        self.trunk = nn.Sequential(
            *mfm_convolution(1, 2 * c32, 5),
            nn.MaxPool2d(2),
            *mfm_convolution(c32, 2 * c32, 1),
            BatchNorm(c32),
            *mfm_convolution(c32, 2 * c48, 3),
            nn.MaxPool2d(2),
            BatchNorm(c48),
            *mfm_convolution(c48, 2 * c48, 1),
            BatchNorm(c48),
            *mfm_convolution(c48, 2 * c64, 3),
            nn.MaxPool2d(2),
            *mfm_convolution(c64, 2 * c64, 1),
            BatchNorm(c64),
            *mfm_convolution(c64, 2 * c32, 3),
            BatchNorm(c32),
            *mfm_convolution(c32, 2 * c32, 1),
            BatchNorm(c32),
            *mfm_convolution(c32, 2 * c32, 3),
            nn.AdaptiveMaxPool2d((16, 8)),
        )
        self.embedding_size = c64
        self.embed = nn.Sequential(nn.Flatten(), nn.Linear(c32 * 16 * 8, 2 * c64), MaxFeatureMap())
        self.normalise = nn.BatchNorm1d(c64)
        self.head = nn.Linear(c64, 2)
        if start == "xavier":
            for layer in (module for module in self.modules() if isinstance(module, nn.Linear)):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.constant_(layer.bias, 0.01)

    def forward(self, features: Tensor) -> ExpertOutput:
        embeddings = self.embed(self.trunk(features.unsqueeze(1)))
        return two_class_output(self.head(self.normalise(embeddings)), embeddings)
