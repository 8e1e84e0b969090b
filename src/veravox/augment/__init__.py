"""One file per waveform transform. An augmentation that fails is an error, never the untouched audio."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from veravox.augment.guard import checked_call
from veravox.lazy import attach
from veravox.registry import Registry


class Augmentation(abc.ABC):
    """A transform of a training waveform that keeps its label and, if `keeps_length`, its length.

    A subclass writes `apply`; calling the object checks what goes in and what comes out.

    Attributes:
        keeps_length: whether the output has as many samples as the input.
        is_random: whether two draws differ.
    """

    keeps_length: ClassVar[bool] = True
    is_random: ClassVar[bool] = True

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        """Options of a small one, as tests build it; what it needs on disk it writes to `folder`."""
        return {}

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """Transform a waveform.

        Args:
            waveform: float32, shape (samples,), nominally in [-1, 1]; not changed in place.
            sample_rate_hz: of the waveform.
            rng: the only source of randomness.
        Returns:
            float32, 1-D, finite; the same number of samples unless the class says otherwise.
        Raises:
            AugmentationError: naming the augmentation, if it cannot be done.
        """
        return checked_call(self._who, self.apply, waveform, sample_rate_hz, rng, self.keeps_length)

    @abc.abstractmethod
    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The transform itself; `waveform` is float32, not empty, and must not be changed in place."""

    def _who(self) -> str:
        names = [name for name in AUGMENTATIONS.names() if AUGMENTATIONS[name] is type(self)]
        return f"augmentation {(names or [type(self).__name__])[0]!r}"


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation", "veravox.augment", Augmentation)

if TYPE_CHECKING:
    from veravox.augment.babble import Babble as Babble
    from veravox.augment.band_limit import BandLimit as BandLimit
    from veravox.augment.clipping import Clipping as Clipping
    from veravox.augment.codec import Codec as Codec
    from veravox.augment.device import Device as Device
    from veravox.augment.dynamics import Dynamics as Dynamics
    from veravox.augment.gain import Gain as Gain
    from veravox.augment.impulse_response import ImpulseResponse as ImpulseResponse
    from veravox.augment.noise import Noise as Noise
    from veravox.augment.noise_folder import NoiseFolder as NoiseFolder
    from veravox.augment.packet_loss import PacketLoss as PacketLoss
    from veravox.augment.pitch import Pitch as Pitch
    from veravox.augment.polarity import Polarity as Polarity
    from veravox.augment.rawboost import RawBoost as RawBoost
    from veravox.augment.resampling import Resampling as Resampling
    from veravox.augment.room import Room as Room
    from veravox.augment.speed import Speed as Speed
    from veravox.augment.synthesis import (
        SYNTHESES as SYNTHESES,
        Synthesis as Synthesis,
    )
    from veravox.augment.time_stretch import TimeStretch as TimeStretch
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__, ("AUGMENTATIONS", "Augmentation"))
