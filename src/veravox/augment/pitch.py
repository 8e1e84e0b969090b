"""Higher or lower voice at the same tempo."""

from __future__ import annotations

import numpy as np

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_range
from veravox.augment.stretching import resample_by, stretch


def shift_pitch(waveform: np.ndarray, sample_rate_hz: int, semitones: float) -> np.ndarray:
    """The waveform with all frequencies moved by `semitones`; float32, the same shape."""
    ratio = 2 ** (semitones / 12)
    shifted = resample_by(stretch(waveform, sample_rate_hz, ratio), 1 / ratio)
    piece = shifted[: len(waveform)]
    return np.pad(piece, (0, len(waveform) - len(piece)))


@AUGMENTATIONS.register("pitch")
class Pitch(Augmentation):
    """Shift the pitch, formants included, by a random number of semitones."""

    def __init__(self, min_semitones: float = -2.0, max_semitones: float = 2.0) -> None:
        check_range("pitch", "min_semitones", min_semitones, "max_semitones", max_semitones)
        self.semitones = (min_semitones, max_semitones)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform at another pitch."""
        return shift_pitch(waveform, sample_rate_hz, rng.uniform(*self.semitones))
