"""Higher or lower voice at the same tempo."""

from __future__ import annotations

import numpy as np

from veravox.audio.power import at_power_of
from veravox.audio.stretching import resample_by, stretch
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_range, check_within


def shift_pitch(waveform: np.ndarray, sample_rate_hz: int, semitones: float) -> np.ndarray:
    """The waveform with all frequencies moved by `semitones`; float32, the same shape and mean power."""
    ratio = 2 ** (semitones / 12)
    shifted = resample_by(stretch(waveform, sample_rate_hz, ratio), 1 / ratio)
    piece = shifted[: len(waveform)]
    return at_power_of(np.pad(piece, (0, len(waveform) - len(piece))), waveform)


@AUGMENTATIONS.register("pitch")
class Pitch(Augmentation):
    """Shift the pitch, formants included, by a random number of semitones."""

    def __init__(self, min_semitones: float = -2.0, max_semitones: float = 2.0) -> None:
        check_range("pitch", "min_semitones", min_semitones, "max_semitones", max_semitones)
        check_within("pitch", -24, 24, min_semitones=min_semitones, max_semitones=max_semitones)
        self.semitones = (min_semitones, max_semitones)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform at another pitch."""
        return shift_pitch(waveform, sample_rate_hz, rng.uniform(*self.semitones))
