"""A narrower band, as of cheap microphones, old lines and low sampling rates."""

from __future__ import annotations

import numpy as np

from veravox.audio.filtering import filter_by_gain, rolloff
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_positive, check_range, check_within


@AUGMENTATIONS.register("band_limit")
class BandLimit(Augmentation):
    """Low-pass at a random frequency, and optionally high-pass at another; zero phase.

    The edges are drawn uniformly on a logarithmic axis and are the -6 dB points; the roll-off is a
    raised cosine of `transition_hz`. A low-pass edge above half the sampling rate changes nothing.

    Args:
        min_low_pass_hz: lowest upper edge.
        max_low_pass_hz: highest upper edge.
        min_high_pass_hz: lowest lower edge; with `max_high_pass_hz` 0 there is none.
        max_high_pass_hz: highest lower edge.
        high_pass_probability: how often the lower edge is applied, where one is given.
        transition_hz: width of the upper roll-off; the lower one is as wide as its edge at most.
    """

    def __init__(
        self,
        min_low_pass_hz: float = 3000.0,
        max_low_pass_hz: float = 8000.0,
        min_high_pass_hz: float = 50.0,
        max_high_pass_hz: float = 0.0,
        high_pass_probability: float = 0.5,
        transition_hz: float = 300.0,
    ) -> None:
        check_positive("band_limit", min_low_pass_hz=min_low_pass_hz, transition_hz=transition_hz)
        check_range("band_limit", "min_low_pass_hz", min_low_pass_hz, "max_low_pass_hz", max_low_pass_hz)
        if max_high_pass_hz:
            check_positive("band_limit", min_high_pass_hz=min_high_pass_hz)
            check_range("band_limit", "min_high_pass_hz", min_high_pass_hz, "max_high_pass_hz", max_high_pass_hz)
            check_range("band_limit", "max_high_pass_hz", max_high_pass_hz, "min_low_pass_hz", min_low_pass_hz)
        check_within("band_limit", 0, 1, high_pass_probability=high_pass_probability)
        self.low_pass_hz = (min_low_pass_hz, max_low_pass_hz)
        self.high_pass_hz = (min_high_pass_hz, max_high_pass_hz) if max_high_pass_hz else None
        self.high_pass_probability = high_pass_probability
        self.transition_hz = transition_hz

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform in a narrower band, not delayed."""
        upper_hz = float(np.exp(rng.uniform(*np.log(self.low_pass_hz))))
        lower_hz = 0.0
        if self.high_pass_hz and rng.random() < self.high_pass_probability:
            lower_hz = float(np.exp(rng.uniform(*np.log(self.high_pass_hz))))
        half_hz = self.transition_hz / 2

        def gain_of(frequencies_hz: np.ndarray) -> np.ndarray:
            gains = rolloff(frequencies_hz, upper_hz - half_hz, upper_hz + half_hz)
            if lower_hz:
                reach_hz = min(half_hz, lower_hz / 2)
                gains *= rolloff(frequencies_hz, lower_hz + reach_hz, lower_hz - reach_hz)
            return gains

        return filter_by_gain(waveform, sample_rate_hz, gain_of)
