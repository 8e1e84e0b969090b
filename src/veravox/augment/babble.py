"""Other people talking, made from other trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veravox.audio.power import mean_power
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.noise import add_at_snr
from veravox.augment.ranges import check_range, check_within
from veravox.augment.recordings import find_recordings, read_piece, write_noise_recordings


@AUGMENTATIONS.register("babble")
class Babble(Augmentation):
    """Add the sum of several random trials, each at equal power, at a random SNR.

    Args:
        source: a protocol, whose bona fide trials talk, or a folder of speech.
        min_talkers: fewest voices; with `max_talkers`.
        min_snr_db: lowest SNR; with `max_snr_db`.
    """

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        return {"source": write_noise_recordings(folder)}

    def __init__(
        self,
        source: str,
        min_talkers: int = 3,
        max_talkers: int = 7,
        min_snr_db: float = 5.0,
        max_snr_db: float = 25.0,
    ) -> None:
        check_within("babble", 1, 100, min_talkers=min_talkers, max_talkers=max_talkers)
        check_range("babble", "min_talkers", min_talkers, "max_talkers", max_talkers)
        check_range("babble", "min_snr_db", min_snr_db, "max_snr_db", max_snr_db)
        check_within("babble", -100, 200, min_snr_db=min_snr_db, max_snr_db=max_snr_db)
        self.source = source
        self.label = None if not source.lower().endswith((".csv", ".parquet")) else "bonafide"
        find_recordings(source, self.label)
        self.talkers = (min_talkers, max_talkers)
        self.snr_db = (min_snr_db, max_snr_db)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform among other voices."""
        paths = find_recordings(self.source, self.label)
        crowd = np.zeros(len(waveform), np.float32)
        for _ in range(rng.integers(self.talkers[0], self.talkers[1] + 1)):
            voice = read_piece(paths[rng.integers(len(paths))], len(waveform), sample_rate_hz, rng)
            power = mean_power(voice)
            crowd += voice / np.float32(np.sqrt(power)) if power > 0 else voice
        return add_at_snr(waveform, crowd, rng.uniform(*self.snr_db))
