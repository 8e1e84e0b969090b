"""Short-time Fourier transform and its inverse in numpy, at four windows over every sample."""

from __future__ import annotations

import numpy as np
import scipy.fft

OVERLAP = 4


def _window(size: int) -> np.ndarray:
    return np.hanning(size + 1)[:-1].astype(np.float32)


def stft(waveform: np.ndarray, size: int) -> np.ndarray:
    """Spectra of Hann windows, shape (frames, size // 2 + 1), a quarter of a window apart.

    Args:
        waveform: float32, shape (samples,); `size` samples of silence are put before it, and more behind.
        size: samples of a window, a multiple of `OVERLAP`.
    """
    hop = size // OVERLAP
    padded = np.pad(waveform, (size, size + hop))
    framed = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return scipy.fft.rfft(framed * _window(size), axis=-1)


def overlap_add(spectra: np.ndarray, size: int) -> np.ndarray:
    """The waveform of spectra, float32, with the silence that `stft` put before it."""
    hop, window = size // OVERLAP, _window(size)
    parts = (scipy.fft.irfft(spectra, size, axis=-1) * window).reshape(len(spectra), OVERLAP, hop)
    total = np.zeros((len(spectra) + OVERLAP - 1, hop), np.float32)
    for part in range(OVERLAP):
        total[part : part + len(spectra)] += parts[:, part]
    weight = (window**2).reshape(OVERLAP, hop).sum(axis=0)
    return (total / weight).reshape(-1)
