"""Codecs: what a file format, a phone call or a video platform does to a voice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from veravox.audio.codec_backends import FORMATS, round_trip
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_choices, check_positive
from veravox.errors import ConfigurationError


@AUGMENTATIONS.register("codec")
class Codec(Augmentation):
    """Encode and decode with a random codec at a random bit rate; length and alignment are kept.

    Args:
        codecs: names to draw from, uniformly: mp3, aac, opus, vorbis, amr-nb, g722, g726, gsm, mu-law, a-law.
        bit_rates_bps: per codec the rates to draw from; the codec's usual ones where it is not given.
    """

    def __init__(
        self,
        codecs: Sequence[str] = tuple(FORMATS),
        bit_rates_bps: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        check_choices("codec", "codecs", codecs, FORMATS)
        given = dict(bit_rates_bps or {})
        if given:
            check_choices("codec", "bit_rates_bps", list(given), FORMATS)
        for name, rates in given.items():
            if not rates:
                raise ConfigurationError(f"codec: bit_rates_bps of {name!r} is empty")
            check_positive("codec", **{f"bit_rates_bps of {name}": min(rates)})
        self.codecs = tuple(codecs)
        self.bit_rates_bps = {name: tuple(given.get(name, FORMATS[name].bit_rates_bps)) for name in codecs}

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform as the codec gives it back."""
        codec = self.codecs[rng.integers(len(self.codecs))]
        rates = self.bit_rates_bps[codec]
        return round_trip(waveform, sample_rate_hz, codec, rates[rng.integers(len(rates))]).waveform
