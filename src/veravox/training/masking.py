"""SpecAugment in training: features masked between front ends and experts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from veravox.batches.curriculum import at_epoch, curriculum
from veravox.errors import ConfigurationError, suggest
from veravox.models.detector import DetectorSpec
from veravox.models.spec_augment import SpecAugment
from veravox.registry import check_options

WAVEFORM = "waveform"


class FeatureMasks:
    """Masks each front end's features once a batch, so that all experts that share them hear the same.

    Each front end, window and segment has masks of its own. The random numbers come with the batch, seeded by
    (seed, epoch, position): a resumed run, several processes and both passes of a sharpness-aware step mask alike.
    All experts run on masked features, also those that a sparse router leaves out.

    Args:
        options: of `SpecAugment`, and `probability` (a number or a curriculum; 1 if not given) and `front_ends`
            (names; all but waveforms if not given).
        detector: whose front ends are meant.
    Raises:
        ConfigurationError: for a wrong option, or where nothing could be masked.
    """

    def __init__(self, options: Mapping[str, Any], detector: DetectorSpec) -> None:
        own = {key: value for key, value in options.items() if key not in ("probability", "front_ends")}
        _check_names(own)
        check_options("spec_augment", SpecAugment, own, ("seed",))
        self.probability = curriculum("spec_augment", options.get("probability", 1.0))
        self.front_ends = _front_ends(options.get("front_ends"), detector)
        self.segments = detector.segments
        self._augment = SpecAugment(**own)

    @property
    def mask_draws(self) -> int:
        """How many random numbers decide on the masks of one window."""
        return len(self.front_ends) * self.segments * self._augment.numbers

    def probability_at(self, epoch: int) -> float:
        """How often a window is masked in an epoch."""
        return at_epoch(self.probability, epoch)

    def __call__(self, features: Mapping[str, Tensor], mask_draws: Tensor) -> dict[str, Tensor]:
        """Features by front end, masked by draws in [0, 1), shape (B, `mask_draws`); zeros mask nothing."""
        shares = mask_draws.reshape(len(mask_draws), len(self.front_ends), self.segments, -1)
        masked = {
            name: self._augment(features[name], shares[:, index].flatten(0, 1))
            for index, name in enumerate(self.front_ends)
            if name in features  # those that no part names were not run
        }
        return {**features, **masked}


def _check_names(own: Mapping[str, Any]) -> None:
    """A misspelt `probability` is answered with that word, though it is no option of the module."""
    known = ["probability", "front_ends", *inspect.signature(SpecAugment).parameters]
    known.remove("seed")
    for name in own:
        if name not in known:
            raise ConfigurationError(f"spec_augment has no option {name!r}; {suggest(name, known)}")


def _front_ends(named: Any, detector: DetectorSpec) -> list[str]:
    known = list(detector.front_ends)
    spectral = [name for name, spec in detector.front_ends.items() if spec.name != WAVEFORM]
    if named is None:
        if not spectral:
            raise ConfigurationError(
                "spec_augment masks features, but every front end gives the waveform; remove it"
            )
        return spectral
    if not isinstance(named, list | tuple) or not named:
        raise ConfigurationError(f"spec_augment: front_ends is a list of names, not {named!r}")
    for name in named:
        if name not in known:
            raise ConfigurationError(f"spec_augment: no front end {name!r}; {suggest(str(name), known)}")
        if name not in spectral:
            raise ConfigurationError(
                f"spec_augment: front end {name!r} gives the waveform; there is nothing to mask"
            )
    return [name for name in known if name in named]
