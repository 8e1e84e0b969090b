"""Additive coloured noise at a stated signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.fft

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_choices, check_range, check_within

SLOPES = {"white": 0.0, "pink": 0.5, "brown": 1.0}
"""Amplitude falls as frequency to the minus this: 0, 3 and 6 dB per octave."""
LOWEST_HZ = 20.0


def coloured_noise(colour: str, samples: int, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise, float32, shape (samples,), of unit mean power; pink and brown start at 20 Hz."""
    if colour == "white":
        noise = rng.standard_normal(samples, dtype=np.float32)
    else:
        size = scipy.fft.next_fast_len(max(samples, 512), real=True)
        bins = size // 2 + 1
        spectrum = rng.standard_normal(2 * bins, dtype=np.float32).view(np.complex64)
        frequencies_hz = np.arange(bins, dtype=np.float32) * np.float32(sample_rate_hz / size)
        gains = np.maximum(frequencies_hz, np.float32(LOWEST_HZ)) ** np.float32(-SLOPES[colour])
        gains[0] = 0.0
        noise = scipy.fft.irfft(spectrum * gains, size)[:samples]
    power = float(np.dot(noise, noise)) / samples
    return noise * np.float32(1 / np.sqrt(power)) if power > 0 else noise


def add_at_snr(waveform: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """`waveform` plus `noise`, scaled so that the ratio of their mean powers is `snr_db`.

    The mean is over the whole waveform. A silent waveform has no such ratio and stays as it is.
    """
    power = float(np.dot(waveform, waveform)) / len(waveform)
    noise_power = float(np.dot(noise, noise)) / len(noise)
    if power == 0 or noise_power == 0:
        return waveform.copy()
    return waveform + noise * np.float32(np.sqrt(power / noise_power) * 10 ** (-snr_db / 20))


@AUGMENTATIONS.register("noise")
class Noise(Augmentation):
    """Add white, pink or brown noise at a random SNR, uniform in dB.

    The SNR compares mean powers over the whole waveform; a silent waveform stays silent.
    """

    def __init__(
        self,
        colours: Sequence[str] = ("white", "pink", "brown"),
        min_snr_db: float = 5.0,
        max_snr_db: float = 30.0,
    ) -> None:
        check_choices("noise", "colours", colours, SLOPES)
        check_range("noise", "min_snr_db", min_snr_db, "max_snr_db", max_snr_db)
        check_within("noise", -100, 200, min_snr_db=min_snr_db, max_snr_db=max_snr_db)
        self.colours = tuple(colours)
        self.min_snr_db = min_snr_db
        self.max_snr_db = max_snr_db

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform with noise."""
        colour = self.colours[rng.integers(len(self.colours))]
        snr_db = rng.uniform(self.min_snr_db, self.max_snr_db)
        return add_at_snr(waveform, coloured_noise(colour, len(waveform), sample_rate_hz, rng), snr_db)
