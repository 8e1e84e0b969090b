"""Linear prediction: a vocal tract per frame, driven by pulses and noise, as of classic vocoders."""

from __future__ import annotations

import numpy as np
import scipy.fft
import scipy.signal

from veravox.audio.power import at_power_of
from veravox.augment.ranges import check_range, check_within
from veravox.augment.synthesis import SYNTHESES, Synthesis

FRAME_S, HOP_S = 0.04, 0.01
VOICED_ABOVE = 0.5
LOWEST_F0_HZ, HIGHEST_F0_HZ = 70.0, 400.0


@SYNTHESES.register("lpc")
class LinearPrediction(Synthesis):
    """Frame-wise linear prediction, re-excited by pulses at the measured pitch, or by noise.

    Args:
        min_order_per_khz: coefficients per kHz of half the sampling rate; with `max_order_per_khz`.
    """

    def __init__(self, min_order_per_khz: float = 1.5, max_order_per_khz: float = 2.5) -> None:
        check_within("lpc", 0.1, 5, min_order_per_khz=min_order_per_khz, max_order_per_khz=max_order_per_khz)
        check_range("lpc", "min_order_per_khz", min_order_per_khz, "max_order_per_khz", max_order_per_khz)
        self.order_per_khz = (min_order_per_khz, max_order_per_khz)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform's resonances and pitch on an artificial source, at the power it had."""
        hop = round(HOP_S * sample_rate_hz)
        size = 2 * round(FRAME_S * sample_rate_hz / 2)
        order = 2 + round(rng.uniform(*self.order_per_khz) * sample_rate_hz / 2000)
        padded = np.pad(waveform, (size // 2, size + hop)).astype(np.float64)
        framed = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size)
        correlation = scipy.fft.irfft(np.abs(scipy.fft.rfft(framed, 2 * size)) ** 2)[:, :size]
        predictors, gains = linear_prediction(correlation, order)
        periods = _periods(correlation, sample_rate_hz)
        source = _source(periods, hop, rng)
        source = np.pad(source, (0, max(0, len(padded) - len(source))))
        result = np.zeros(len(padded))
        fade = np.hanning(2 * hop + 1)[:-1]
        for frame, (predictor, gain) in enumerate(zip(predictors, gains, strict=True)):
            start = frame * hop
            piece = np.pad(source[start : start + 2 * hop], (0, size - 2 * hop))
            if len(piece) == size and start + size <= len(result):
                piece[: 2 * hop] *= fade
                result[start : start + size] += gain * scipy.signal.lfilter([1.0], predictor, piece)
        return at_power_of(result[hop : hop + len(waveform)].astype(np.float32), waveform)


def linear_prediction(correlation: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Prediction polynomials (frames, order + 1) and residual levels (frames,) from autocorrelations."""
    energy = correlation[:, :1] * (1 + 1e-6) + 1e-9
    lags = np.concatenate([energy, correlation[:, 1 : order + 1]], axis=1)
    lags[:, 1:] *= np.exp(-0.5 * (0.01 * np.arange(1, order + 1)) ** 2)  # a little blur keeps it stable
    index = np.abs(np.subtract.outer(np.arange(order), np.arange(order)))
    weights = np.linalg.solve(lags[:, index], lags[:, 1:, None])[..., 0]
    residual = np.maximum(lags[:, 0] - np.einsum("fo,fo->f", weights, lags[:, 1:]), 1e-12)
    return np.concatenate([np.ones((len(lags), 1)), -weights], axis=1), np.sqrt(residual)


def _periods(correlation: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Pitch period in samples per frame, 0 where unvoiced."""
    shortest, longest = int(sample_rate_hz / HIGHEST_F0_HZ), int(sample_rate_hz / LOWEST_F0_HZ)
    longest = min(longest, correlation.shape[1] - 1)
    shares = correlation[:, shortest:longest] / np.maximum(correlation[:, :1], 1e-9)
    window = np.hanning(correlation.shape[1])
    taper = np.correlate(window, window, "full")[len(window) - 1 :]  # what the window does to each lag
    shares = shares * taper[0] / taper[shortest:longest]
    best = shares.argmax(axis=1)
    voiced = shares[np.arange(len(best)), best] > VOICED_ABOVE
    return np.where(voiced, best + shortest, 0)


def _source(periods: np.ndarray, hop: int, rng: np.random.Generator) -> np.ndarray:
    """Unit-power noise with unit-power pulses in voiced frames."""
    source = rng.standard_normal((len(periods) + 1) * hop)
    place = 0.0
    for frame, period in enumerate(periods):
        start, end = frame * hop, (frame + 1) * hop
        if not period:
            place = float(end)
            continue
        source[start:end] *= 0.05
        place = max(place, float(start))
        while place < end:
            source[int(place)] += np.sqrt(period)
            place += period
    return source
