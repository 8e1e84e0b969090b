"""One file per waveform transform. An augmentation that fails is an error, never the untouched audio."""

from __future__ import annotations

import abc

import numpy as np

from veravox.registry import Registry


class Augmentation(abc.ABC):
    """A transform of a training waveform that keeps its label and its length."""

    @abc.abstractmethod
    def __call__(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """Transform a waveform.

        Args:
            waveform: float32, shape (samples,), nominally in [-1, 1]; not changed in place.
            sample_rate_hz: of the waveform.
            rng: the only source of randomness.
        Returns:
            float32, 1-D, finite; the same number of samples unless the class says otherwise.
        Raises:
            AugmentationError: if it cannot be done.
        """


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation", "veravox.augment")
