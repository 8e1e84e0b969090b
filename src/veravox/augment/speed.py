"""Faster or slower playback: tempo and pitch change together."""

from __future__ import annotations

import numpy as np

from veravox.audio.stretching import resample_by
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_range, check_within


@AUGMENTATIONS.register("speed")
class Speed(Augmentation):
    """Play at a random speed; the length changes by its inverse."""

    keeps_length = False

    def __init__(self, min_factor: float = 0.9, max_factor: float = 1.1) -> None:
        check_within("speed", 0.1, 10, min_factor=min_factor, max_factor=max_factor)
        check_range("speed", "min_factor", min_factor, "max_factor", max_factor)
        self.factor = (min_factor, max_factor)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform, shorter where it is faster."""
        return resample_by(waveform, 1 / rng.uniform(*self.factor))
