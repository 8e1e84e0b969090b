"""WORLD: pitch, envelope and aperiodicity, put together again by the vocoder of many parametric systems."""

from __future__ import annotations

import warnings
from types import ModuleType

import numpy as np

from veravox.audio.power import at_power_of
from veravox.augment.ranges import check_range, check_within
from veravox.augment.synthesis import SYNTHESES, Synthesis
from veravox.errors import require


def _pyworld() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its import of setuptools
        return require("pyworld", "world")


@SYNTHESES.register("world")
class World(Synthesis):
    """Analysis and synthesis by WORLD, at a pitch moved by a random number of semitones; needs pyworld.

    Args:
        min_semitones: with `max_semitones`; 0 and 0 copy the pitch.
    """

    def __init__(self, min_semitones: float = 0.0, max_semitones: float = 0.0) -> None:
        check_range("world", "min_semitones", min_semitones, "max_semitones", max_semitones)
        check_within("world", -24, 24, min_semitones=min_semitones, max_semitones=max_semitones)
        _pyworld()
        self.semitones = (min_semitones, max_semitones)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform as the vocoder gives it back, at the power it had."""
        world = _pyworld()
        source = waveform.astype(np.float64)
        pitch_hz, times_s = world.dio(source, sample_rate_hz)
        pitch_hz = world.stonemask(source, pitch_hz, times_s, sample_rate_hz)
        envelope = world.cheaptrick(source, pitch_hz, times_s, sample_rate_hz)
        aperiodicity = world.d4c(source, pitch_hz, times_s, sample_rate_hz)
        pitch_hz = pitch_hz * 2 ** (rng.uniform(*self.semitones) / 12)
        copy = world.synthesize(pitch_hz, envelope, aperiodicity, sample_rate_hz)[: len(waveform)]
        copy = np.pad(copy, (0, len(waveform) - len(copy))).astype(np.float32)
        return at_power_of(copy, waveform)
