"""Overdriven recordings."""

from __future__ import annotations

import numpy as np

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_range


@AUGMENTATIONS.register("clipping")
class Clipping(Augmentation):
    """Cut, or softly bend, everything above a random level under the peak; the ceiling stays where it is cut.

    Args:
        min_depth_db: how far under the peak the ceiling lies; with `max_depth_db`.
        soft_probability: how often the ceiling is bent (hyperbolic tangent) instead of hard.
    """

    def __init__(
        self, min_depth_db: float = 1.0, max_depth_db: float = 12.0, soft_probability: float = 0.5
    ) -> None:
        check_range("clipping", "0", 0.0, "min_depth_db", min_depth_db)
        check_range("clipping", "min_depth_db", min_depth_db, "max_depth_db", max_depth_db)
        self.depth_db = (min_depth_db, max_depth_db)
        self.soft_probability = soft_probability

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform under its ceiling."""
        ceiling = np.float32(np.abs(waveform).max() * 10 ** (-rng.uniform(*self.depth_db) / 20))
        soft = rng.random() < self.soft_probability
        if ceiling == 0:
            return waveform.copy()
        return ceiling * np.tanh(waveform / ceiling) if soft else np.clip(waveform, -ceiling, ceiling)
