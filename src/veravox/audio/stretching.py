"""Time stretching by a phase vocoder, and resampling by any factor."""

from __future__ import annotations

import numpy as np
import scipy.fft

from veravox.audio.power import at_power_of
from veravox.audio.stft import OVERLAP, overlap_add, stft

WINDOW_S = 0.064


def resample_by(waveform: np.ndarray, factor: float) -> np.ndarray:
    """`round(samples x factor)` samples of the same shape; pitch falls as the length grows."""
    import soxr

    wanted = max(1, round(len(waveform) * factor))
    result = soxr.resample(waveform, 1.0, factor, quality="HQ")
    return result[:wanted] if len(result) >= wanted else np.pad(result, (0, wanted - len(result)))


def stretch(waveform: np.ndarray, sample_rate_hz: int, factor: float) -> np.ndarray:
    """The same pitch and mean power at `factor` times the length; float32, shape (round(samples x factor),).

    A phase vocoder: magnitudes are interpolated between analysis frames, phases are locked to spectral peaks.
    """
    size = 2 * scipy.fft.next_fast_len(round(WINDOW_S * sample_rate_hz / 2), real=True)
    hop = size // OVERLAP
    wanted = max(1, round(len(waveform) * factor))
    spectra = stft(waveform, size)  # (frames, bins)
    positions = np.arange(0, len(spectra) - 1, 1 / factor)
    before = positions.astype(np.int64)
    part = (positions - before).astype(np.float32)[:, None]
    sizes = np.abs(spectra)
    magnitudes = (1 - part) * sizes[before] + part * sizes[before + 1]
    phases = _locked_phases(spectra, sizes, before, hop / size)
    result = overlap_add(magnitudes * np.exp(1j * phases).astype(np.complex64), size)
    start = round(size * (factor + 1) / 2)
    piece = result[start : start + wanted]
    piece = np.pad(piece, (0, wanted - len(piece))).astype(np.float32, copy=False)
    return at_power_of(piece, waveform)


def _locked_phases(spectra: np.ndarray, sizes: np.ndarray, before: np.ndarray, hop_share: float) -> np.ndarray:
    """Phases of the output frames, shape (output frames, bins).

    A spectral peak's phase advances by its measured frequency; the bins around it keep their phase
    relative to it, so that a steady tone keeps its amplitude.

    Source:
        Laroche, Dolson: Improved phase vocoder time-scale modification of audio, 1999.
    """
    angles = np.angle(spectra)
    expected = 2 * np.pi * hop_share * np.arange(spectra.shape[1])
    turn = np.diff(angles, axis=0) - expected
    turn = expected + turn - 2 * np.pi * np.rint(turn / (2 * np.pi))  # (frames - 1, bins)
    owners = _nearest_peaks(sizes)
    phases = np.empty((len(before), spectra.shape[1]))
    phases[0] = angles[before[0]]
    for output in range(1, len(before)):
        frame, owner = before[output], owners[before[output]]
        advanced = phases[output - 1] + turn[before[output - 1]]
        phases[output] = angles[frame] + (advanced - angles[frame])[owner]
    return phases


def _nearest_peaks(sizes: np.ndarray) -> np.ndarray:
    """For every bin the index of the nearest local maximum of its frame, shape (frames, bins)."""
    bins = np.arange(sizes.shape[1])
    around = np.pad(sizes, ((0, 0), (2, 2)))
    peak = np.ones(sizes.shape, bool)
    for shift in (0, 1, 3, 4):
        peak &= sizes >= around[:, shift : shift + len(bins)]
    left = np.maximum.accumulate(np.where(peak, bins, -(10**6)), axis=1)
    right = np.minimum.accumulate(np.where(peak, bins, 10**6)[:, ::-1], axis=1)[:, ::-1]
    return np.where(bins - left <= right - bins, left, right)
