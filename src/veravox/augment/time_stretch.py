"""Faster or slower speech at the same pitch."""

from __future__ import annotations

import numpy as np

from veravox.audio.stretching import stretch
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_range, check_within


@AUGMENTATIONS.register("time_stretch")
class TimeStretch(Augmentation):
    """Change the tempo by a random factor and keep the pitch; the length changes by the factor's inverse."""

    keeps_length = False

    def __init__(self, min_tempo: float = 0.85, max_tempo: float = 1.18) -> None:
        check_within("time_stretch", 0.1, 10, min_tempo=min_tempo, max_tempo=max_tempo)
        check_range("time_stretch", "min_tempo", min_tempo, "max_tempo", max_tempo)
        self.tempo = (min_tempo, max_tempo)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform at another tempo."""
        return stretch(waveform, sample_rate_hz, 1 / rng.uniform(*self.tempo))
