"""Copy-synthesis: a bona fide voice taken apart and put together again by a machine. The label changes."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any

import numpy as np

from veravox.augment.guard import checked_call
from veravox.registry import Registry


class Synthesis(abc.ABC):
    """Turns a bona fide waveform into a spoofed copy of the same length, aligned with it.

    A subclass writes `apply`; calling the object checks what goes in and what comes out.
    """

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """Make the copy; its label is `spoof`, whatever the label of the waveform.

        Args:
            waveform: float32, shape (samples,); not changed in place.
            sample_rate_hz: of the waveform.
            rng: the only source of randomness.
        Returns:
            float32, the same shape, finite.
        Raises:
            AugmentationError: naming the synthesis, if it cannot be done.
        """
        return checked_call(lambda: f"synthesis {self.attack_id!r}", self.apply, waveform, sample_rate_hz, rng)

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        """Options of a small one, as tests build it; what it needs on disk it writes to `folder`."""
        return {}

    @property
    def attack_id(self) -> str:
        """The registered name: the attack that the copy belongs to."""
        names = [name for name in SYNTHESES.names() if SYNTHESES[name] is type(self)]
        return (names or [type(self).__name__])[0]

    @abc.abstractmethod
    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The synthesis itself; `waveform` is float32, not empty, and must not be changed in place."""


SYNTHESES: Registry[Synthesis] = Registry("synthesis", "veravox.augment.synthesis", Synthesis)

__all__ = ["SYNTHESES", "Synthesis"]
