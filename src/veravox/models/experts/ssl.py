"""Heads for self-supervised features: linear, or the graphs of AASIST."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional

from veravox.errors import ConfigurationError
from veravox.models.experts import EXPERTS, Expert, ExpertOutput, two_class_output
from veravox.models.layers.batch_norm import BatchNorm
from veravox.models.layers.graphs import SpectroTemporalGraph
from veravox.models.layers.residual_encoder import POOL, residual_encoder


class LinearHead(nn.Module):
    """Mean over time, one hidden layer: (B, D, T) to (B, hidden)."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.embed = nn.Linear(size, hidden)
        self.embedding_size = hidden

    def forward(self, features: Tensor) -> Tensor:
        return functional.relu(self.embed(features.mean(dim=2)))


class GraphHead(nn.Module):
    """AASIST on features: projected, encoded without pooling, read as two graphs by learned attention."""

    def __init__(self, size: int, hidden: int, frames: int) -> None:
        super().__init__()
        if frames < POOL:
            raise ConfigurationError(f"expert 'ssl': head 'aasist' needs at least {POOL} frames, not {frames}")
        self.project = nn.Linear(size, hidden)
        self.first_normalise = BatchNorm(1)
        self.encoder = residual_encoder((32, 64), pool=False)
        self.normalise = BatchNorm(64)
        self.attend = nn.Sequential(
            nn.Conv2d(64, 128, 1), nn.SELU(inplace=True), BatchNorm(128), nn.Conv2d(128, 64, 1)
        )
        self.graph = SpectroTemporalGraph(64, 32, hidden // POOL, (0.5, 0.5, 0.5))
        self.embedding_size = self.graph.embedding_size

    def forward(self, features: Tensor) -> Tensor:
        projected = self.project(features.transpose(1, 2)).transpose(1, 2).unsqueeze(1)  # (B, 1, hidden, T)
        image = functional.selu(self.first_normalise(functional.max_pool2d(projected, POOL)))
        encoded = functional.selu(self.normalise(self.encoder(image)))  # (B, 64, hidden // 3, T // 3)
        attention = self.attend(encoded)
        spectral = (encoded * attention.softmax(dim=3)).sum(dim=3).transpose(1, 2)
        temporal = (encoded * attention.softmax(dim=2)).sum(dim=2).transpose(1, 2)
        return self.graph(spectral, temporal)


@EXPERTS.register("ssl")
class SelfSupervisedExpert(Expert):
    """Judges the features of the front ends `ssl` and `whisper`, (B, D, T).

    Args:
        head: `linear`: mean over time and one hidden layer; `aasist`: encoder and graphs.
        hidden: size of the hidden layer, or of the projection before the graphs.
        dropout: before the last layer.

    Source:
        Tak et al., Automatic Speaker Verification Spoofing and Deepfake Detection Using Wav2vec 2.0, Odyssey 2022.
    """

    inductive_bias = "what large pretrained speech encoders know of natural speech, read over the whole window"

    def __init__(
        self,
        feature_shape: tuple[int, ...],
        head: Literal["linear", "aasist"] = "linear",
        hidden: int = 128,
        dropout: float | None = None,
    ) -> None:
        super().__init__()
        if len(feature_shape) != 2:
            raise ConfigurationError(
                f"expert 'ssl' needs features (D, T), as front ends 'ssl' and 'whisper' give; not {feature_shape}"
            )
        size, frames = feature_shape
        self.body: LinearHead | GraphHead = (
            LinearHead(size, hidden) if head == "linear" else GraphHead(size, hidden, frames)
        )
        self.embedding_size = self.body.embedding_size
        if dropout is None:
            dropout = 0.3 if head == "linear" else 0.5
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.embedding_size, 2))

    def forward(self, features: Tensor) -> ExpertOutput:
        embeddings = self.body(features)
        return two_class_output(self.head(embeddings), embeddings)
