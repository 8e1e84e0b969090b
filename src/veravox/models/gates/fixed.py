"""A weighted mean whose weights are chosen, not learned."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from veravox.errors import ConfigurationError
from veravox.models.gates import GATES, Gate


@GATES.register("fixed")
class FixedGate(Gate):
    """The same weights for every window, such as those chosen on left-out sources. It looks at nothing.

    Args:
        weights: one for each expert, positive; their sum is brought to 1. None weighs all alike.
    """

    sees: ClassVar[Literal["waveform", "features", "embeddings"]] = "waveform"
    logits: Tensor

    def __init__(self, experts: int, weights: tuple[float, ...] | None = None) -> None:
        super().__init__()
        chosen = (1.0,) * experts if weights is None else tuple(weights)
        if len(chosen) != experts or min(chosen) <= 0:
            raise ConfigurationError(
                f"gate 'fixed' needs {experts} positive weights, one for each expert; got {list(chosen)}"
            )
        self.register_buffer("logits", torch.tensor(chosen, dtype=torch.float32).log(), persistent=False)

    def forward(self, seen: Tensor) -> Tensor:
        return self.logits.to(seen.dtype).expand(len(seen), -1)
