"""An audio fingerprint: pairs of spectral peaks, as in music recognition, with settings for short speech.

Chromaprint, the well-kept library, describes music by its chords over many seconds and gives a three-second
utterance a dozen numbers, which many utterances share. Peaks outlive gain, trimming, resampling, lossy codecs
and noise, and two recordings of one text by one speaker do not share them.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.ndimage

SAMPLE_RATE_HZ = 16000
FINGERPRINT_S = 30.0
"""Only the first half minute makes the fingerprint."""

FRAME, HOP = 1024, 128  # 64 ms, 8 ms
WINDOW = np.hanning(FRAME).astype(np.float32)
LOWEST_HZ, HIGHEST_HZ = 200.0, 3600.0  # inside a telephone line
NEIGHBOURS = (15, 11)  # frames, bands: a peak is the largest among them
RANGE_DB = 40.0
PEAKS_PER_S = 20
PARTNERS = 8
FARTHEST = 80  # frames between two peaks of a pair
BAND_STEP, FRAME_STEP = 3, 4  # coarse enough that a cut between two frames changes few codes


def fingerprint(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of spectral peaks of a recording.

    Args:
        waveform: float32, shape (samples,), at 16 kHz; its level does not matter.
    Returns:
        Codes (uint32), one a pair: two frequencies and the time between; and the frame (uint16) of the first peak.
        Both empty for silence, or less than a frame.
    Source:
        Wang, An industrial-strength audio search algorithm, ISMIR 2003.
    """
    times, bands = _peaks(waveform[: int(FINGERPRINT_S * SAMPLE_RATE_HZ)])
    codes, frames = [], []
    for step in range(1, PARTNERS + 1):
        if len(times) <= step:
            break
        apart = times[step:] - times[:-step]
        near = (apart > 0) & (apart <= FARTHEST)
        first, second = (bands[:-step] + 1) // BAND_STEP, (bands[step:] + 1) // BAND_STEP
        time = (apart + FRAME_STEP // 2) // FRAME_STEP
        codes.append(((first << 14) | (second << 6) | time)[near])
        frames.append(times[:-step][near])
    if not codes:
        return np.zeros(0, np.uint32), np.zeros(0, np.uint16)
    return np.concatenate(codes).astype(np.uint32), np.concatenate(frames).astype(np.uint16)


def _peaks(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frame and band of the strongest local maxima, in order of time."""
    empty = np.zeros(0, np.int64)
    if len(waveform) < FRAME:
        return empty, empty
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::HOP]
    low, high = (round(hz * FRAME / SAMPLE_RATE_HZ) for hz in (LOWEST_HZ, HIGHEST_HZ))
    spectrum = scipy.fft.rfft(frames * WINDOW, axis=1)[:, low:high]
    power = spectrum.real**2 + spectrum.imag**2  # (T, K)
    loudest = float(power.max())
    if loudest <= 0.0:
        return empty, empty
    top = scipy.ndimage.maximum_filter(power, size=NEIGHBOURS, mode="constant")
    times, bands = np.nonzero((power == top) & (power > loudest * 10.0 ** (-RANGE_DB / 10.0)))
    wanted = max(4, round(PEAKS_PER_S * len(waveform) / SAMPLE_RATE_HZ))
    if len(times) > wanted:
        strongest = np.sort(np.argsort(-power[times, bands], kind="stable")[:wanted])
        times, bands = times[strongest], bands[strongest]
    return times.astype(np.int64), bands.astype(np.int64)
