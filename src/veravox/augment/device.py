"""Responses of telephones, laptops and loudspeakers: a band, and a few resonances in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veravox.audio.filtering import filter_by_gain
from veravox.audio.power import at_power_of
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_choices, check_within

DEVICES: dict[str, tuple[float, float, float, float]] = {
    "telephone": (250.0, 400.0, 3200.0, 3700.0),
    "smartphone": (120.0, 400.0, 6000.0, 12000.0),
    "laptop": (100.0, 300.0, 6500.0, 14000.0),
    "small loudspeaker": (150.0, 500.0, 7000.0, 16000.0),
    "headset": (80.0, 200.0, 5000.0, 10000.0),
}
"""Lowest and highest lower edge, lowest and highest upper edge, in Hz."""
LOWER_FALL_DB, UPPER_FALL_DB = 18.0, 40.0
"""Per octave, below and above the band."""
LOWEST_OCTAVE, GRID = 2.0, 400


@AUGMENTATIONS.register("device")
class Device(Augmentation):
    """A random device: it falls by 18 dB per octave below its band, by 40 above, and has resonances inside.

    The filter has zero phase; the result is scaled to the power of the input.

    Args:
        devices: kinds to draw from: telephone, smartphone, laptop, small loudspeaker, headset.
        max_resonances: how many peaks and dips at most.
        max_resonance_db: their height or depth at most.
    """

    def __init__(
        self,
        devices: Sequence[str] = tuple(DEVICES),
        max_resonances: int = 6,
        max_resonance_db: float = 8.0,
    ) -> None:
        check_choices("device", "devices", devices, DEVICES)
        check_within("device", 0, 100, max_resonances=max_resonances, max_resonance_db=max_resonance_db)
        self.devices = tuple(devices)
        self.max_resonances = max_resonances
        self.max_resonance_db = max_resonance_db

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform as the device gives it."""
        low_from, low_to, high_from, high_to = DEVICES[self.devices[rng.integers(len(self.devices))]]
        low_hz, high_hz = rng.uniform(low_from, low_to), rng.uniform(high_from, high_to)
        count = rng.integers(0, self.max_resonances + 1)
        centres = rng.uniform(np.log2(low_hz), np.log2(min(high_hz, sample_rate_hz / 2)), count)
        heights_db = rng.uniform(-self.max_resonance_db, self.max_resonance_db, count)
        widths = rng.uniform(0.05, 0.5, count)  # octaves

        octaves = np.linspace(LOWEST_OCTAVE, np.log2(sample_rate_hz / 2), GRID)
        below, above = np.log2(low_hz) - octaves, octaves - np.log2(high_hz)
        decibels = -LOWER_FALL_DB * np.logaddexp2(0, 4 * below) / 4
        decibels -= UPPER_FALL_DB * np.logaddexp2(0, 4 * above) / 4
        for centre, height_db, width in zip(centres, heights_db, widths, strict=True):
            decibels += height_db * np.exp(-(((octaves - centre) / width) ** 2))

        def gain_of(frequencies_hz: np.ndarray) -> np.ndarray:
            return np.interp(frequencies_hz, 2**octaves, 10 ** (decibels / 20))

        return at_power_of(filter_by_gain(waveform, sample_rate_hz, gain_of, margin_s=0.05), waveform)
