"""Recorded noise, such as MUSAN, at a stated signal-to-noise ratio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.noise import add_at_snr
from veravox.augment.ranges import check_range, check_within
from veravox.augment.recordings import find_recordings, read_piece, write_noise_recordings


@AUGMENTATIONS.register("noise_folder")
class NoiseFolder(Augmentation):
    """Add a random piece of a random recording at a random SNR (mean powers over the whole waveform).

    Args:
        folder: any folder of recordings (all below it count), or a protocol.
        min_snr_db: lowest SNR; with `max_snr_db`.
    """

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        return {"folder": write_noise_recordings(folder)}

    def __init__(self, folder: str, min_snr_db: float = 0.0, max_snr_db: float = 25.0) -> None:
        check_range("noise_folder", "min_snr_db", min_snr_db, "max_snr_db", max_snr_db)
        check_within("noise_folder", -100, 200, min_snr_db=min_snr_db, max_snr_db=max_snr_db)
        find_recordings(folder)
        self.folder = folder
        self.snr_db = (min_snr_db, max_snr_db)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform with recorded noise."""
        paths = find_recordings(self.folder)
        noise = read_piece(paths[rng.integers(len(paths))], len(waveform), sample_rate_hz, rng)
        return add_at_snr(waveform, noise, rng.uniform(*self.snr_db))
