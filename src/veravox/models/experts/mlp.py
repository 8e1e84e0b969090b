"""A perceptron on statistics of a window."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError
from veravox.models.experts import EXPERTS, Expert, ExpertOutput

LARGEST = 6.0


@EXPERTS.register("mlp")
class Perceptron(Expert):
    """Fully connected layers on features (B, F) that are one vector a window, standardised as training saw them.

    Made for few sources: strong dropout, and noise on the standardised features.

    Args:
        hidden: sizes of the hidden layers; the last is D.
        dropout: after each hidden layer.
        noise: standard deviation of the Gaussian noise on the standardised features while training.
    """

    inductive_bias: ClassVar[str] = (
        "how features are distributed over a window, whatever their order; nothing that only happens once"
    )

    def __init__(
        self,
        feature_shape: tuple[int, ...],
        hidden: tuple[int, ...] = (256, 128),
        dropout: float = 0.5,
        noise: float = 0.6,
    ) -> None:
        super().__init__()
        if len(feature_shape) != 1:
            raise ConfigurationError(
                f"expert 'mlp' takes one vector a window, not features of shape {tuple(feature_shape)}; "
                "choose a front end that pools, such as whisper_blocks with pooling: statistics"
            )
        if not hidden or min(hidden) < 1:
            raise ConfigurationError(
                f"expert 'mlp': hidden needs one size or more, all positive, not {list(hidden)}"
            )
        if not 0 <= dropout < 1 or noise < 0:
            raise ConfigurationError(
                f"expert 'mlp': dropout must be in [0, 1) and noise not negative; got {dropout} and {noise}"
            )
        self.noise = noise
        self.standardise = nn.BatchNorm1d(feature_shape[0], momentum=None, affine=False)
        layers: list[nn.Module] = []
        for size, after in zip((feature_shape[0], *hidden), hidden, strict=False):
            layers += [nn.Linear(size, after), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(hidden[-1], 1)
        self.embedding_size = hidden[-1]

    def forward(self, features: Tensor) -> ExpertOutput:
        standard = self.standardise(features).clamp(-LARGEST, LARGEST)
        if self.training and self.noise:
            standard = standard + self.noise * torch.randn_like(standard)
        embeddings = self.layers(standard)
        return ExpertOutput(self.head(embeddings).squeeze(1), embeddings)
