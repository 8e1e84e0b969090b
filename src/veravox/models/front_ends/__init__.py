"""Front ends: windows (B, S) in, features out. One file each."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from veravox.registry import Registry


class FrontEnd(nn.Module, abc.ABC):
    """Turns windows into features. It may be supplied `sample_rate_hz` by the detector.

    Attributes:
        captures: what its features keep and lose, in one sentence; shown when gate weights are explained.
    """

    captures: ClassVar[str]

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        """Options of a small one, as tests build it; what it needs on disk it writes to `folder`."""
        return {}

    @abc.abstractmethod
    def forward(self, windows: Tensor) -> Tensor:
        """Features of windows.

        Args:
            windows: float32, shape (B, S).
        Returns:
            (B, F, T) for spectral front ends (F bins, T frames); (B, S) where the waveform passes through.
        """


FRONT_ENDS: Registry[FrontEnd] = Registry("front end", "veravox.models.front_ends", FrontEnd)

__all__ = ["FRONT_ENDS", "FrontEnd"]
