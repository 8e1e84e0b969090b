"""Chains of sampling rates, as of files that went through several programs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_choices, check_positive, check_range

QUALITIES = ("VHQ", "HQ", "MQ", "LQ", "QQ")


def through_rate(waveform: np.ndarray, sample_rate_hz: int, rate_hz: int, quality: str = "HQ") -> np.ndarray:
    """The waveform resampled to another rate and back; the same shape, not delayed."""
    import soxr

    there = soxr.resample(waveform, sample_rate_hz, rate_hz, quality=quality)
    back = soxr.resample(there, rate_hz, sample_rate_hz, quality=quality)[: len(waveform)]
    return np.pad(back, (0, len(waveform) - len(back)))


@AUGMENTATIONS.register("resampling")
class Resampling(Augmentation):
    """Go through one to `max_steps` random sampling rates and back, each with a random resampler quality."""

    def __init__(
        self,
        rates_hz: Sequence[int] = (8000, 11025, 12000, 22050, 24000, 32000, 44100, 48000),
        max_steps: int = 2,
        qualities: Sequence[str] = QUALITIES,
    ) -> None:
        check_positive("resampling", rates_hz=min(rates_hz, default=0), max_steps=max_steps)
        check_range("resampling", "1", 1, "max_steps", max_steps)
        check_choices("resampling", "qualities", qualities, QUALITIES)
        self.rates_hz = tuple(rates_hz)
        self.max_steps = max_steps
        self.qualities = tuple(qualities)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform after the chain."""
        for _ in range(rng.integers(1, self.max_steps + 1)):
            rate_hz = self.rates_hz[rng.integers(len(self.rates_hz))]
            quality = self.qualities[rng.integers(len(self.qualities))]
            waveform = through_rate(waveform, sample_rate_hz, rate_hz, quality)
        return waveform
