"""The other polarity, as after a swapped pair of wires."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from veravox.augment import AUGMENTATIONS, Augmentation


@AUGMENTATIONS.register("polarity")
class Polarity(Augmentation):
    """Multiply by -1; how often is the chain's probability."""

    is_random: ClassVar[bool] = False

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform upside down."""
        return -waveform
