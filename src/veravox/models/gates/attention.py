"""The attention gate ("Att"): a transformer encoder across experts."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError
from veravox.models.gates import GATES, Gate


@GATES.register("attention")
class AttentionGate(Gate):
    """Each expert's embedding is a token; a transformer encoder lets them attend to one another.

    Every token gets its own logit from a shared head. A learned vector an expert says whose token it is. Where the
    detector cuts windows into segments, each (expert, segment) is a token, with a learned vector a segment, and
    all tokens of a window attend to one another; weights are shared out within each segment.

    Source:
        Mixture paper 2025b: an encoder of 2 layers; width, heads and dropout are the options' defaults.
    """

    def __init__(
        self,
        experts: int,
        embedding_size: int,
        segments: int = 1,
        layers: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if embedding_size % heads:
            raise ConfigurationError(
                f"gate 'attention': {heads} heads do not divide embedding size {embedding_size}"
            )
        self.normalise = nn.LayerNorm(embedding_size)
        self.expert_embedding = nn.Parameter(torch.randn(experts, embedding_size) * 0.02)
        self.segments = segments
        self.segment_embedding = (
            nn.Parameter(torch.randn(segments, 1, embedding_size) * 0.02) if segments > 1 else None
        )
        layer = nn.TransformerEncoderLayer(
            embedding_size, heads, 2 * embedding_size, dropout, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(embedding_size, 1)

    def forward(self, seen: Tensor) -> Tensor:
        tokens = self.normalise(seen) + self.expert_embedding  # (B, E, D)
        if self.segment_embedding is None:
            return self.head(self.encoder(tokens)).squeeze(-1)
        tokens = (tokens.unflatten(0, (-1, self.segments)) + self.segment_embedding).flatten(
            1, 2
        )  # (windows, segments x E, D)
        return self.head(self.encoder(tokens)).view(seen.shape[:2])
