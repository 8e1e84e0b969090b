"""What an operation did to a file, measured: delay, level, SNR, bandwidth, reverberation time."""

from __future__ import annotations

import numpy as np
import scipy.signal

from veravox.audio.codec_backends import estimate_delay
from veravox.audio.power import mean_power
from veravox.audio.reverberation import reverberation_time_s
from veravox.degradation.operations import Operation

ALIKE = 0.5
"""Correlation from which the waveforms themselves tell a delay."""
SMOOTHING_S = 0.01
CLICK_S = (0.2, 2.0)


def delay_ms(degraded: np.ndarray, original: np.ndarray, sample_rate_hz: int) -> float | None:
    """How much later the degraded waveform is, by the peak of the cross-correlation; None where the two are too
    unlike for that."""
    lag = estimate_delay(degraded, original)
    size = min(len(original), len(degraded))
    alike = np.corrcoef(np.roll(degraded, -lag)[:size], original[:size])[0, 1]
    return 1000 * lag / sample_rate_hz if abs(alike) >= ALIKE else None


def loudness_delay_ms(degraded: np.ndarray, original: np.ndarray, sample_rate_hz: int) -> float:
    """How much later its loudness is; reverberation counts, since it makes sounds last longer."""
    lag = estimate_delay(_loudness(degraded, sample_rate_hz), _loudness(original, sample_rate_hz))
    return 1000 * lag / sample_rate_hz


def _loudness(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    samples = max(1, round(SMOOTHING_S * sample_rate_hz))
    smooth = np.convolve(np.abs(waveform), np.ones(samples) / samples, "same")
    return smooth - smooth.mean()


def snr_db(degraded: np.ndarray, original: np.ndarray) -> float:
    """Power of the original's share in the degraded waveform over the power of the rest, in dB."""
    size = min(len(original), len(degraded))
    left, right = degraded[:size].astype(np.float64), original[:size].astype(np.float64)
    share = np.dot(left, right) / max(np.dot(right, right), 1e-20)
    rest = left - share * right
    return float(10 * np.log10(max(np.dot(share * right, share * right), 1e-20) / max(np.dot(rest, rest), 1e-20)))


def bandwidth_hz(degraded: np.ndarray, original: np.ndarray, sample_rate_hz: int) -> float:
    """Highest frequency at which the degraded waveform has at least half the original's amplitude (-6 dB),
    relative to their ratio from 500 to 2500 Hz."""
    points = min(512, len(original), len(degraded))
    frequencies, before = scipy.signal.welch(original, sample_rate_hz, nperseg=points)
    _, after = scipy.signal.welch(degraded, sample_rate_hz, nperseg=points)
    ratio_db = 10 * np.log10((after + 1e-20) / (before + 1e-20))
    inside = (frequencies >= 500) & (frequencies <= 2500)
    kept = frequencies[ratio_db > np.median(ratio_db[inside]) - 6]
    return float(kept.max()) if len(kept) else 0.0


def level_change_db(degraded: np.ndarray, original: np.ndarray) -> float:
    """Change of the mean power, in dB."""
    return float(10 * np.log10(max(mean_power(degraded), 1e-20) / max(mean_power(original), 1e-20)))


def split_signal_noise(
    operation: Operation, seed: int, waveform: np.ndarray, sample_rate_hz: int
) -> tuple[np.ndarray, np.ndarray]:
    """What an operation makes of a waveform, and what it adds to it, under a file's seed.

    The mirrored waveform comes out mirrored, the added noise as it was: half the difference of both results is the
    signal, half their sum is the noise.
    """
    plain, mirrored = (operation(sign * waveform, sample_rate_hz, seed).waveform for sign in (1, -1))
    return (plain - mirrored) / 2, (plain + mirrored) / 2


def added_snr_db(operation: Operation, seed: int, original: np.ndarray, sample_rate_hz: int) -> float:
    """Power of what an operation makes of a waveform over the power of what it adds, in dB."""
    signal, noise = split_signal_noise(operation, seed, original, sample_rate_hz)
    return float(10 * np.log10(max(mean_power(signal), 1e-20) / max(mean_power(noise), 1e-20)))


def click_response(operation: Operation, seed: int, sample_rate_hz: int) -> np.ndarray:
    """What an operation makes of a click at `CLICK_S[0]` under a file's seed, without added noise."""
    click = np.zeros(round(sum(CLICK_S) * sample_rate_hz), np.float32)
    click[round(CLICK_S[0] * sample_rate_hz)] = 0.5
    return split_signal_noise(operation, seed, click, sample_rate_hz)[0]


def rt60_s(response: np.ndarray, sample_rate_hz: int) -> float:
    """Reverberation time of a click's response.

    Raises:
        ValueError: if the click does not decay by 25 dB.
    """
    return reverberation_time_s(response[round(CLICK_S[0] * sample_rate_hz) :], sample_rate_hz)


def onset_ms(response: np.ndarray, sample_rate_hz: int) -> float:
    """When a click's response first reaches half its peak, after the click."""
    loud = np.abs(response)
    first = int(np.argmax(loud >= loud.max() / 2))
    return 1000 * first / sample_rate_hz - 1000 * CLICK_S[0]


def measure(
    operation: Operation,
    seed: int,
    intended: dict[str, float],
    degraded: np.ndarray,
    original: np.ndarray,
    sample_rate_hz: int,
) -> dict[str, float]:
    """Delay and change of level, and whatever was intended, measured under the same names.

    Args:
        operation: that made the file.
        seed: of the file.
        intended: names (snr_db, added_snr_db, bandwidth_hz, rt60_s, duration_ratio) to intended values.
        degraded: at the original's sampling rate.
        original: float32, shape (samples,).
        sample_rate_hz: of both.
    """
    found = {"level_change_db": level_change_db(degraded, original)}
    room = "rt60_s" in intended or "added_snr_db" in intended
    response = click_response(operation, seed, sample_rate_hz) if room else None
    if operation.keeps_time:
        delay = delay_ms(degraded, original, sample_rate_hz)
        if delay is not None:
            found["delay_ms"] = delay
        elif response is not None:
            found["onset_ms"] = onset_ms(response, sample_rate_hz)
        else:
            found["loudness_delay_ms"] = loudness_delay_ms(degraded, original, sample_rate_hz)
    if "snr_db" in intended:
        found["snr_db"] = snr_db(degraded, original)
    if "added_snr_db" in intended:
        found["added_snr_db"] = added_snr_db(operation, seed, original, sample_rate_hz)
    if "bandwidth_hz" in intended:
        found["bandwidth_hz"] = bandwidth_hz(degraded, original, sample_rate_hz)
    if response is not None and "rt60_s" in intended:
        found["rt60_s"] = rt60_s(response, sample_rate_hz)
    if "duration_ratio" in intended:
        found["duration_ratio"] = len(degraded) / len(original)
    return found
