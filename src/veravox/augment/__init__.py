"""One file per waveform transform. An augmentation that fails is an error, never the untouched audio."""

from __future__ import annotations

import abc
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from veravox.augment.guard import guarded
from veravox.registry import Registry

if TYPE_CHECKING:
    from veravox.augment.babble import Babble
    from veravox.augment.band_limit import BandLimit
    from veravox.augment.chain import Chain, build_chain
    from veravox.augment.clipping import Clipping
    from veravox.augment.codec import Codec
    from veravox.augment.device import Device
    from veravox.augment.dynamics import Dynamics
    from veravox.augment.gain import Gain
    from veravox.augment.impulse_response import ImpulseResponse
    from veravox.augment.noise import Noise
    from veravox.augment.noise_folder import NoiseFolder
    from veravox.augment.packet_loss import PacketLoss
    from veravox.augment.pitch import Pitch
    from veravox.augment.polarity import Polarity
    from veravox.augment.rawboost import RawBoost
    from veravox.augment.resampling import Resampling
    from veravox.augment.room import Room
    from veravox.augment.speed import Speed
    from veravox.augment.splicing import Splice, splice
    from veravox.augment.synthesis import SYNTHESES, Synthesis
    from veravox.augment.synthesis.copies import CopySynthesis, build_synthesis
    from veravox.augment.time_stretch import TimeStretch


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
        return guarded(self._who, self.apply, waveform, sample_rate_hz, rng, self.keeps_length)

    @abc.abstractmethod
    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The transform itself; `waveform` is float32, not empty, and must not be changed in place."""

    def _who(self) -> str:
        names = [name for name in AUGMENTATIONS.names() if AUGMENTATIONS[name] is type(self)]
        return f"augmentation {(names or [type(self).__name__])[0]!r}"


AUGMENTATIONS: Registry[Augmentation] = Registry("augmentation", "veravox.augment", Augmentation)

_HOMES = {
    "Babble": "babble",
    "BandLimit": "band_limit",
    "Chain": "chain",
    "Clipping": "clipping",
    "Codec": "codec",
    "Device": "device",
    "Dynamics": "dynamics",
    "Gain": "gain",
    "ImpulseResponse": "impulse_response",
    "Noise": "noise",
    "NoiseFolder": "noise_folder",
    "PacketLoss": "packet_loss",
    "Pitch": "pitch",
    "Polarity": "polarity",
    "RawBoost": "rawboost",
    "Resampling": "resampling",
    "Room": "room",
    "Speed": "speed",
    "Splice": "splicing",
    "Synthesis": "synthesis",
    "TimeStretch": "time_stretch",
    "CopySynthesis": "synthesis.copies",
    "SYNTHESES": "synthesis",
    "build_chain": "chain",
    "build_synthesis": "synthesis.copies",
    "splice": "splicing",
}

__all__ = [
    "AUGMENTATIONS",
    "SYNTHESES",
    "Augmentation",
    "Babble",
    "BandLimit",
    "Chain",
    "Clipping",
    "Codec",
    "CopySynthesis",
    "Device",
    "Dynamics",
    "Gain",
    "ImpulseResponse",
    "Noise",
    "NoiseFolder",
    "PacketLoss",
    "Pitch",
    "Polarity",
    "RawBoost",
    "Resampling",
    "Room",
    "Speed",
    "Splice",
    "Synthesis",
    "TimeStretch",
    "build_chain",
    "build_synthesis",
    "splice",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.augment.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.augment' has no attribute {name!r}")
