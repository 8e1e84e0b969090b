"""The level rule: a transform whose loudness is no part of its meaning gives back the power it got."""

from __future__ import annotations

import numpy as np


def mean_power(waveform: np.ndarray) -> float:
    """Mean of the squared samples."""
    return float(np.dot(waveform, waveform)) / len(waveform)


def at_power_of(result: np.ndarray, original: np.ndarray) -> np.ndarray:
    """`result` scaled to the mean power of `original`; silence stays silence."""
    power = mean_power(result)
    if power == 0:
        return result
    return result * np.float32(np.sqrt(mean_power(original) / power))
