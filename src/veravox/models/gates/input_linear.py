"""The gate of the standard mixture: it sees the waveform."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from veravox.models.gates import GATES, Gate


@GATES.register("input_linear")
class InputLinearGate(Gate):
    """A linear map of the window's samples, tied to their number. It needs no expert to have run.

    Source:
        Mixture paper 2025a, standard MoE: 48,000 samples (3 s) to E logits.
    """

    sees: ClassVar[Literal["waveform", "features", "embeddings"]] = "waveform"

    def __init__(self, experts: int, window_samples: int) -> None:
        super().__init__()
        self.window_samples = window_samples
        self.head = nn.Linear(window_samples, experts)

    def forward(self, seen: Tensor) -> Tensor:
        return self.head(seen)
