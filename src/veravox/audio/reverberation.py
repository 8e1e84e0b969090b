"""Impulse responses: applying them without delay, and simulating those of a room."""

from __future__ import annotations

import numpy as np
import scipy.signal

from veravox.audio.power import at_power_of

SPEED_OF_SOUND_M_S = 343.0
DIRECT_S = 0.0025
"""Around a response's largest peak: what reaches the microphone without a detour."""


def convolve(waveform: np.ndarray, response: np.ndarray) -> np.ndarray:
    """The waveform with an impulse response, the direct sound not delayed, at the power it had.

    Args:
        waveform: float32, shape (samples,).
        response: shape (taps,); its largest peak is the direct sound.
    Returns:
        float32, shape (samples,); what rings on after the end is cut.
    """
    direct = int(np.argmax(np.abs(response)))
    wet = scipy.signal.oaconvolve(waveform, response.astype(np.float32))[direct : direct + len(waveform)]
    return at_power_of(wet.astype(np.float32, copy=False), waveform)


def image_response(
    room_m: np.ndarray,
    source_m: np.ndarray,
    microphone_m: np.ndarray,
    rt60_s: float,
    sample_rate_hz: int,
    rng: np.random.Generator,
    order: int = 6,
) -> np.ndarray:
    """Impulse response of a shoebox room: image sources first, then a diffuse tail of the same decay.

    Walls absorb equally at all frequencies, by Eyring's formula for the reverberation time. Reflections
    up to `order` per axis are placed between samples by linear interpolation; where they thin out, Gaussian noise
    that falls by 60 dB in `rt60_s` takes over at their level.

    Args:
        room_m: width, length, height.
        source_m: position of the source.
        microphone_m: position of the microphone.
        rt60_s: reverberation time.
        sample_rate_hz: of the response.
        rng: of the tail.
        order: reflections per axis.
    Returns:
        float32, shape (taps,).
    Source:
        Allen, Berkley: Image method for efficiently simulating small-room acoustics, JASA 1979.
    """
    width, length, height = room_m
    volume, surface = width * length * height, 2 * (width * length + width * height + length * height)
    absorption = 1 - np.exp(-24 * np.log(10) * volume / (SPEED_OF_SOUND_M_S * surface * rt60_s))
    reflection = np.sqrt(1 - absorption)
    taps = round(rt60_s * sample_rate_hz) + round(0.05 * sample_rate_hz)
    cells = np.stack(np.meshgrid(*[np.arange(-order, order + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    sides = np.where(cells % 2 == 0, source_m, room_m - source_m)
    distance_m = np.linalg.norm(cells * room_m + sides - microphone_m, axis=1)
    amplitude = reflection ** np.abs(cells).sum(axis=1) / np.maximum(distance_m, 0.1)
    place = distance_m / SPEED_OF_SOUND_M_S * sample_rate_hz
    first = place.astype(np.int64)
    inside = first < taps - 1
    first, part, amplitude = first[inside], (place - first)[inside], amplitude[inside]
    response = np.bincount(first, amplitude * (1 - part), taps)
    response += np.bincount(first + 1, amplitude * part, taps)
    mixing = order * min(room_m) / SPEED_OF_SOUND_M_S
    return _with_tail(response, mixing, rt60_s, sample_rate_hz, rng)


def _with_tail(
    response: np.ndarray, mixing_s: float, rt60_s: float, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    """The response up to the mixing time, then noise of its level there, fading at the rate of `rt60_s`."""
    mixing_s = min(mixing_s, 0.3 * rt60_s)
    mixing = round(mixing_s * sample_rate_hz)
    start = int(np.argmax(np.abs(response)))
    mixing = max(mixing, start + round(DIRECT_S * sample_rate_hz))
    time_s = np.arange(len(response)) / sample_rate_hz
    decay = 10 ** (-3 * time_s / rt60_s)
    early = slice(start + round(DIRECT_S * sample_rate_hz), mixing)
    level = np.sqrt(np.mean((response[early] / decay[early]) ** 2)) if early.stop > early.start else 0.0
    tail = level * decay * rng.standard_normal(len(response))
    fade = np.clip((np.arange(len(response)) - mixing / 2) / max(1, mixing / 2), 0, 1)
    return (response * np.sqrt(1 - fade) + tail * np.sqrt(fade)).astype(np.float32)


def reverberation_time_s(response: np.ndarray, sample_rate_hz: int) -> float:
    """RT60 of an impulse response: Schroeder's backward integral, a line from -5 to -25 dB, times three.

    Raises:
        ValueError: if the response does not fall by 25 dB.
    """
    energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
    decay_db = 10 * np.log10(energy / energy[0] + 1e-30)
    used = np.flatnonzero((decay_db <= -5) & (decay_db >= -25))
    if len(used) < 2 or decay_db.min() > -25:
        raise ValueError("the response does not decay by 25 dB")
    slope, _ = np.polyfit(used / sample_rate_hz, decay_db[used], 1)
    return float(-60 / slope)
