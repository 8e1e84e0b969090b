"""How loud speech is, and how to bring it to a stated level. 0 dBFS is the level of a full-scale square wave."""

from __future__ import annotations

import numpy as np

FRAME_MS = 32.0
# Speech pauses lie more than this under the active level (the margin of ITU-T P.56).
MARGIN_DB = 15.9
SILENCE_DBFS = -96.0


def dbfs(amplitude: float) -> float:
    """An amplitude (RMS or peak, 1.0 is full scale) in dB; minus infinity for 0."""
    return float(20.0 * np.log10(amplitude)) if amplitude > 0 else float("-inf")


def active_power(powers: np.ndarray) -> tuple[float, float]:
    """Mean power of the frames that hold speech, and the power that a frame must reach to count.

    Starting from all frames that are not silent, frames more than 15.9 dB under the mean of those that count
    are left out until none is. The rule moves with the level of the recording.

    Args:
        powers: mean square of each frame, shape (frames,).
    Returns:
        (mean power, threshold); (0.0, inf) if every frame is silent.
    Source:
        The margin: ITU-T P.56, method B; frames instead of its envelope.
    """
    active = powers[powers > 10.0 ** (SILENCE_DBFS / 10.0)].astype(np.float64)
    if not len(active):
        return 0.0, float("inf")
    while True:
        threshold = float(active.mean()) * 10.0 ** (-MARGIN_DB / 10.0)
        kept = active[active >= threshold]
        if len(kept) == len(active):
            return float(active.mean()), threshold
        active = kept


def frame_powers(waveform: np.ndarray, frame_samples: int) -> np.ndarray:
    """Mean square of each frame without its mean, shape (frames,); a tail shorter than a frame is left out.

    A waveform shorter than a frame is one frame.
    """
    frame_samples = min(frame_samples, len(waveform))
    if not frame_samples:
        return np.zeros(0, np.float32)
    frames = waveform[: len(waveform) // frame_samples * frame_samples].reshape(-1, frame_samples)
    means = frames.mean(axis=1)
    squares = np.einsum("fs,fs->f", frames, frames) / frame_samples
    return np.asarray(np.maximum(squares - means * means, 0.0))


def active_level(waveform: np.ndarray, sample_rate_hz: int = 16000) -> float:
    """Level of the speech in a waveform without its pauses, in dBFS; minus infinity for silence.

    Args:
        waveform: float, shape (samples,).
        sample_rate_hz: of the waveform; frames have 32 ms.
    """
    waveform = np.asarray(waveform, dtype=np.float32)
    power, _ = active_power(frame_powers(waveform, max(1, round(FRAME_MS * sample_rate_hz / 1000))))
    return dbfs(float(np.sqrt(power)))


def to_active_level(
    waveform: np.ndarray, level_dbfs: float = -26.0, max_gain_db: float = 40.0, sample_rate_hz: int = 16000
) -> np.ndarray:
    """A copy brought to an active level by one gain; silence stays as it is.

    Args:
        waveform: float, shape (samples,).
        level_dbfs: the active level afterwards. Peaks are not limited: they may pass full scale.
        max_gain_db: the gain stays within plus and minus this, so that bare noise is not blown up without end.
        sample_rate_hz: of the waveform.
    Returns:
        float32, shape (samples,).
    """
    waveform = np.asarray(waveform, dtype=np.float32)
    level = active_level(waveform, sample_rate_hz)
    if level == float("-inf"):
        return waveform.copy()
    gain_db = float(np.clip(level_dbfs - level, -max_gain_db, max_gain_db))
    return waveform * np.float32(10.0 ** (gain_db / 20.0))
