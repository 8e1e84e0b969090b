"""The concatenation gate ("Cat") of the second mixture paper."""

from __future__ import annotations

from torch import Tensor, nn

from veravox.models.gates import GATES, Gate


@GATES.register("concat")
class ConcatGate(Gate):
    """A two-layer perceptron on the experts' concatenated embeddings.

    Source:
        Mixture paper 2025b, "Cat"; the paper gives no sizes, ours are the options' defaults.
    """

    def __init__(self, experts: int, embedding_size: int, hidden: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.head = nn.Sequential(
            nn.LayerNorm(experts * embedding_size),
            nn.Linear(experts * embedding_size, hidden),
            nn.Dropout(dropout),
            nn.LeakyReLU(),
            nn.Linear(hidden, experts),
        )

    def forward(self, seen: Tensor) -> Tensor:
        return self.head(seen.flatten(1))
