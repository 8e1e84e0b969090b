"""Filtering by a gain per frequency: zero phase, so that nothing moves in time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft


def filter_by_gain(
    waveform: np.ndarray,
    sample_rate_hz: int,
    gain_of: Callable[[np.ndarray], np.ndarray],
    margin_s: float = 0.03,
) -> np.ndarray:
    """Filter with a real gain per frequency.

    Args:
        waveform: float32, shape (samples,).
        sample_rate_hz: of the waveform.
        gain_of: takes frequencies in Hz, gives a linear gain for each.
        margin_s: silence put behind, so that the end does not ring into the beginning.
    Returns:
        float32, shape (samples,).
    """
    size = scipy.fft.next_fast_len(len(waveform) + int(margin_s * sample_rate_hz), real=True)
    spectrum = scipy.fft.rfft(waveform, size)
    frequencies_hz = np.arange(len(spectrum), dtype=np.float32) * np.float32(sample_rate_hz / size)
    spectrum *= gain_of(frequencies_hz).astype(np.float32)
    return scipy.fft.irfft(spectrum, size)[: len(waveform)]


def rolloff(frequencies_hz: np.ndarray, start_hz: float, stop_hz: float) -> np.ndarray:
    """1 up to `start_hz`, 0 from `stop_hz`, half a cosine between; swapped limits give the high-pass."""
    position = np.clip((frequencies_hz - start_hz) / (stop_hz - start_hz), 0.0, 1.0)
    return 0.5 + 0.5 * np.cos(np.pi * position)
