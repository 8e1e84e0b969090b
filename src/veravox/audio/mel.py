"""Mel scale and triangular filters, for spectrograms, filter banks and synthesis alike."""

from __future__ import annotations

import numpy as np


def hertz_to_mel(hertz: float | np.ndarray) -> np.ndarray:
    """HTK mel scale."""
    return np.asarray(2595.0 * np.log10(1.0 + np.asarray(hertz) / 700.0))


def mel_to_hertz(mel: float | np.ndarray) -> np.ndarray:
    """Inverse of `hertz_to_mel`."""
    return np.asarray(700.0 * (10.0 ** (np.asarray(mel) / 2595.0) - 1.0))


def mel_spaced(count: int, min_frequency_hz: float, max_frequency_hz: float) -> np.ndarray:
    """Frequencies in Hz, equally spaced on the mel scale, shape (count,), both limits included."""
    return mel_to_hertz(np.linspace(hertz_to_mel(min_frequency_hz), hertz_to_mel(max_frequency_hz), count))


def triangular_filters(edges_hz: np.ndarray, frequencies_hz: np.ndarray) -> np.ndarray:
    """Triangles of height 1 between every second edge, float64, shape (edges - 2, frequencies)."""
    lower, centre, upper = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (frequencies_hz - lower) / (centre - lower), (upper - frequencies_hz) / (upper - centre)
    return np.maximum(0.0, np.minimum(rising, falling))


def mel_filters(
    bands: int, bins: int, sample_rate_hz: int, min_frequency_hz: float, max_frequency_hz: float
) -> np.ndarray:
    """Mel-spaced triangular filters, float64, shape (bands, bins); bins reach from 0 to half the sample rate."""
    edges_hz = mel_spaced(bands + 2, min_frequency_hz, max_frequency_hz)
    return triangular_filters(edges_hz, np.linspace(0.0, sample_rate_hz / 2, bins))
