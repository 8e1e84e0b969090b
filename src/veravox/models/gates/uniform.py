"""The average ensemble."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from veravox.models.gates import GATES, Gate


@GATES.register("uniform")
class UniformGate(Gate):
    """Equal weights: the mean of the experts' logits. It has no parameters, and looks at nothing."""

    sees: ClassVar[Literal["waveform", "features", "embeddings"]] = "waveform"

    def __init__(self, experts: int) -> None:
        super().__init__()
        self.experts = experts

    def forward(self, seen: Tensor) -> Tensor:
        return seen.new_zeros(len(seen), self.experts)
