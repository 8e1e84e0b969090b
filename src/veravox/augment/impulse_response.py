"""Recorded rooms and devices: any folder of impulse responses."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from veravox.audio.reverberation import convolve
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_within
from veravox.augment.recordings import find_recordings, read_recording, write_noise_recordings
from veravox.errors import AugmentationError


@functools.lru_cache(maxsize=256)
def _response(path: str, sample_rate_hz: int, max_response_s: float) -> np.ndarray:
    return read_recording(path, sample_rate_hz)[: round(max_response_s * sample_rate_hz)]


@AUGMENTATIONS.register("impulse_response")
class ImpulseResponse(Augmentation):
    """Convolve with a random impulse response of a folder; the direct sound is not delayed.

    The result is scaled to the power of the input.

    Args:
        folder: recordings of impulse responses (all below it count), or a protocol of them.
        max_response_s: longer responses are cut.
    """

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        return {"folder": write_noise_recordings(folder)}

    def __init__(self, folder: str, max_response_s: float = 2.0) -> None:
        check_within("impulse_response", 0.001, 60, max_response_s=max_response_s)
        find_recordings(folder)
        self.folder = folder
        self.max_response_s = max_response_s

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform in the recorded room."""
        paths = find_recordings(self.folder)
        path = paths[rng.integers(len(paths))]
        response = _response(path, sample_rate_hz, self.max_response_s)
        if not response.any():
            raise AugmentationError(f"the impulse response {path!r} is silent")
        return convolve(waveform, response)
