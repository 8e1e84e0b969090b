"""Dynamic range compression, as of broadcasts, messengers and automatic gain controls."""

from __future__ import annotations

import numpy as np
import scipy.signal

from veravox.audio.power import at_power_of
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_positive, check_range, check_within

STEP_S = 0.002
FLOOR = 1e-10


@AUGMENTATIONS.register("dynamics")
class Dynamics(Augmentation):
    """Compress: above a threshold, relative to the waveform's power, the level rises `ratio` times slower.

    The result is scaled to the power of the input.

    Args:
        min_threshold_db: relative to the mean power; with `max_threshold_db`.
        min_ratio: of compression; with `max_ratio`.
        min_smoothing_s: time constant of the level meter; with `max_smoothing_s`.
    """

    def __init__(
        self,
        min_threshold_db: float = -20.0,
        max_threshold_db: float = 0.0,
        min_ratio: float = 1.5,
        max_ratio: float = 8.0,
        min_smoothing_s: float = 0.005,
        max_smoothing_s: float = 0.1,
    ) -> None:
        check_range("dynamics", "min_threshold_db", min_threshold_db, "max_threshold_db", max_threshold_db)
        check_positive("dynamics", min_smoothing_s=min_smoothing_s)
        check_within("dynamics", 1, 1000, min_ratio=min_ratio, max_ratio=max_ratio)
        check_within("dynamics", -200, 200, min_threshold_db=min_threshold_db, max_threshold_db=max_threshold_db)
        check_range("dynamics", "min_ratio", min_ratio, "max_ratio", max_ratio)
        check_range("dynamics", "min_smoothing_s", min_smoothing_s, "max_smoothing_s", max_smoothing_s)
        self.threshold_db = (min_threshold_db, max_threshold_db)
        self.ratio = (min_ratio, max_ratio)
        self.smoothing_s = (min_smoothing_s, max_smoothing_s)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform with a narrower range of levels."""
        threshold_db = rng.uniform(*self.threshold_db)
        ratio, smoothing_s = rng.uniform(*self.ratio), rng.uniform(*self.smoothing_s)
        step = max(1, round(STEP_S * sample_rate_hz))
        blocks = -(-len(waveform) // step)
        power = np.pad(waveform, (0, blocks * step - len(waveform))).reshape(blocks, step)
        power = np.square(power, dtype=np.float64).mean(axis=1)
        memory = np.exp(-STEP_S / smoothing_s)
        envelope, _ = scipy.signal.lfilter([1 - memory], [1, -memory], power, zi=[memory * power[0]])
        level_db = 10 * np.log10((envelope + FLOOR) / (power.mean() + FLOOR))
        gain_db = np.minimum(0, threshold_db - level_db) * (1 - 1 / ratio)
        centres = (np.arange(blocks) + 0.5) * step
        gains = np.interp(np.arange(len(waveform)), centres, 10 ** (gain_db / 20))
        return at_power_of(waveform * gains.astype(np.float32), waveform)
