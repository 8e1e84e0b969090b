"""Silence added and taken away, room tone and gaps: what changes no word of a recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from veravox.audio.power import mean_power
from veravox.augment.noise import coloured_noise
from veravox.degradation.operations import Degraded, Operation, drawn

FRAME_S = 0.02
MIN_ADDED_S, MAX_ADDED_S = 0.5, 6.0


def silence_added(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """Digital silence before and after."""
    before_s, after_s = drawn(rng, MIN_ADDED_S, MAX_ADDED_S), drawn(rng, MIN_ADDED_S, MAX_ADDED_S)
    padding = round(before_s * sample_rate_hz), round(after_s * sample_rate_hz)
    return _with_duration(np.pad(waveform, padding), waveform, sample_rate_hz, before_s=before_s, after_s=after_s)


def room_tone_added(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """Pink noise before and after, as quiet as a room is."""
    before_s, after_s = drawn(rng, MIN_ADDED_S, MAX_ADDED_S), drawn(rng, MIN_ADDED_S, MAX_ADDED_S)
    level_db = drawn(rng, -60, -40)  # against the recording itself
    scale = np.float32(np.sqrt(mean_power(waveform)) * 10 ** (level_db / 20))
    pieces = [
        scale * coloured_noise("pink", round(seconds * sample_rate_hz), sample_rate_hz, rng)
        for seconds in (before_s, after_s)
    ]
    result = np.concatenate([pieces[0], waveform, pieces[1]]).astype(np.float32)
    return _with_duration(result, waveform, sample_rate_hz, before_s=before_s, after_s=after_s, level_db=level_db)


def silence_removed(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """Quiet stretches cut out, at both ends and between; some of each is kept around what is loud."""
    threshold_db, margin_s = drawn(rng, -45, -30), drawn(rng, 0.04, 0.2)
    keep = loud_samples(waveform, sample_rate_hz, threshold_db, margin_s)
    return _with_duration(waveform[keep], waveform, sample_rate_hz, threshold_db=threshold_db, margin_s=margin_s)


def gaps_cut(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """Stretches set to digital silence, as by a muted microphone; nothing moves in time."""
    result, gaps = waveform.copy(), []
    duration_s = len(waveform) / sample_rate_hz
    for _ in range(int(rng.integers(1, 6))):
        length_s = min(drawn(rng, 0.05, 0.5), round(duration_s / 4, 2))
        start_s = drawn(rng, 0, duration_s - length_s)
        result[round(start_s * sample_rate_hz) : round((start_s + length_s) * sample_rate_hz)] = 0
        gaps.append([start_s, length_s])
    return Degraded(result, sample_rate_hz, {"gaps_s": gaps})


def loud_samples(waveform: np.ndarray, sample_rate_hz: int, threshold_db: float, margin_s: float) -> np.ndarray:
    """Which samples lie in or near frames that reach a level under the loudest frame's, boolean, (samples,).

    Args:
        waveform: float32, shape (samples,).
        sample_rate_hz: of the waveform.
        threshold_db: level against the loudest frame, below 0.
        margin_s: seconds kept around each such frame.
    """
    size = max(1, round(FRAME_S * sample_rate_hz))
    frames = np.pad(waveform, (0, -len(waveform) % size)).reshape(-1, size)
    powers = np.square(frames, dtype=np.float64).mean(axis=1)
    loud = powers >= powers.max() * 10 ** (threshold_db / 10)  # all of a silent recording
    reach = int(np.ceil(margin_s * sample_rate_hz / size))
    near = (
        np.convolve(loud, np.ones(2 * reach + 1), "same") > 0
        if len(loud) > 2 * reach
        else np.ones(len(loud), bool)
    )
    return np.repeat(near, size)[: len(waveform)]


def _with_duration(result: np.ndarray, original: np.ndarray, sample_rate_hz: int, **parameters: float) -> Degraded:
    ratio = len(result) / len(original)
    return Degraded(result, sample_rate_hz, {**parameters, "duration_ratio": ratio})


def silences() -> list[Operation]:
    """Operations on silence alone: a detector's score should stay where it is."""

    def duration(parameters: Mapping[str, Any]) -> dict[str, float]:
        return {"duration_ratio": parameters["duration_ratio"]}

    return [
        Operation("silence added", silence_added, keeps_time=False, intended=duration),
        Operation("room tone added", room_tone_added, keeps_time=False, intended=duration),
        Operation("silence removed", silence_removed, keeps_time=False, intended=duration),
        Operation("gaps", gaps_cut),
    ]
