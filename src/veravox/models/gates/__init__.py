"""Gates: what they see in, (B, E) logits out; a router makes weights of them. One file each."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from veravox.registry import Registry


class Gate(nn.Module, abc.ABC):
    """Weighs experts. Supplied as it asks: `experts`, `embedding_size`, `window_samples`, `segments`,
    `feature_shape`.

    Attributes:
        sees: `embeddings` (B, E, D); `waveform` (B, S); or `features`, (B, F, T) as a rule: those of the front end
            that its option `front_end` names, of the detector's first if it names none. A gate that sees
            embeddings cannot spare the cost of experts that are not chosen: they have run already.
        window_samples: the only window length it works with; None if any.
    """

    sees: ClassVar[Literal["waveform", "features", "embeddings"]] = "embeddings"
    window_samples: int | None = None

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        """Options of a small one, as tests build it; what it needs on disk it writes to `folder`."""
        return {}

    @abc.abstractmethod
    def forward(self, seen: Tensor) -> Tensor:
        """Unnormalised weights (B, E) of the experts."""


GATES: Registry[Gate] = Registry("gate", "veravox.models.gates", Gate)

__all__ = ["GATES", "Gate"]
