"""The gate of the enhanced mixture: it sees embeddings, and what they have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veravox.models.gates import GATES, Gate


@GATES.register("embedding_fc")
class EmbeddingGate(Gate):
    """Each expert's embedding through its own layer; their product, weighted, beside them; two layers to E logits.

    Args:
        interaction: size of each expert's part, and of the product.
        hidden: size of the layer on all of them.
        dropout: in that layer.

    Source:
        Mixture paper 2025a, enhanced MoE: 64 to 32 per expert, shared batch norm, LeakyReLU; (E + 1) x 32 to 64.
    """

    def __init__(
        self, experts: int, embedding_size: int, interaction: int = 32, hidden: int = 64, dropout: float = 0.2
    ) -> None:
        super().__init__()
        layers = [nn.Linear(embedding_size, interaction) for _ in range(experts)]
        self.projection_weight = nn.Parameter(torch.stack([layer.weight.detach() for layer in layers]))
        self.projection_bias = nn.Parameter(torch.stack([layer.bias.detach() for layer in layers]))
        self.norm = nn.BatchNorm1d(interaction)
        self.activation = nn.LeakyReLU()
        self.interaction = nn.Parameter(torch.ones(interaction))
        self.head = nn.Sequential(
            nn.Linear((experts + 1) * interaction, hidden),
            nn.Dropout(dropout),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(),
            nn.Linear(hidden, experts),
        )

    def forward(self, seen: Tensor) -> Tensor:
        projected = torch.einsum("bed,efd->bef", seen, self.projection_weight) + self.projection_bias
        # The shared norm meets experts one by one, as published: while training, each by its own batch.
        parts = self.activation(
            torch.stack([self.norm(embeddings) for embeddings in projected.unbind(1)], dim=1)
        )  # (B, E, F)
        common = parts.prod(dim=1) * self.interaction
        return self.head(torch.cat([parts.flatten(1), common], dim=1))
