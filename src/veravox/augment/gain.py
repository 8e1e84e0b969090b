"""Another level."""

from __future__ import annotations

import numpy as np

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_range, check_within


@AUGMENTATIONS.register("gain")
class Gain(Augmentation):
    """Multiply by one random gain, uniform in dB; what exceeds full scale is left as it is."""

    def __init__(self, min_gain_db: float = -12.0, max_gain_db: float = 6.0) -> None:
        check_range("gain", "min_gain_db", min_gain_db, "max_gain_db", max_gain_db)
        check_within("gain", -200, 200, min_gain_db=min_gain_db, max_gain_db=max_gain_db)
        self.min_gain_db = min_gain_db
        self.max_gain_db = max_gain_db

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform at another level."""
        return waveform * np.float32(10 ** (rng.uniform(self.min_gain_db, self.max_gain_db) / 20))
