"""Several augmentations in order, each with its probability, fixed or changing with the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.guard import check_waveform
from veravox.batches.curriculum import Probability, at_epoch, curriculum, plain
from veravox.errors import ConfigurationError
from veravox.registry import Spec


class Chain(Augmentation):
    """Apply augmentations in order, each with its own probability.

    Args:
        steps: pairs of a Spec and a probability. A probability is a number, or a curriculum: a mapping
            from epoch to number, each valid from its epoch on, 0 before the first.
        epoch: where in the curriculum this chain stands.
    Raises:
        ConfigurationError: for an unknown name or option, or a probability outside [0, 1].
    """

    def __init__(self, steps: Sequence[tuple[Spec, Probability]], epoch: int = 0) -> None:
        self.steps = [(spec, curriculum(f"augmentation {spec.name!r}", each)) for spec, each in steps]
        self.epoch = epoch
        self._transforms = [AUGMENTATIONS.build(spec) for spec, _ in self.steps]

    @property
    def probabilities(self) -> list[float]:
        """The probability of each step at this chain's epoch."""
        return [at_epoch(each, self.epoch) for _, each in self.steps]

    def at_epoch(self, epoch: int) -> Chain:
        """The same chain at another point of its curricula; the transforms are shared."""
        other = object.__new__(Chain)
        other.steps, other.epoch, other._transforms = self.steps, epoch, self._transforms
        return other

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """Apply the chain; the length may change if one of its steps changes it."""
        check_waveform(lambda: "augmentation", waveform)
        return self.apply(waveform.astype(np.float32, copy=True), sample_rate_hz, rng)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform after the steps that the draw chose."""
        chosen = rng.random(len(self.steps)) < self.probabilities
        for transform, use in zip(self._transforms, chosen, strict=True):
            if use:
                waveform = transform(waveform, sample_rate_hz, rng)
        return waveform

    def to_list(self) -> list[dict[str, Any]]:
        """The chain as plain data; `build_chain` reads it back."""
        return [{**spec.to_dict(), "probability": plain(each)} for spec, each in self.steps]


def build_chain(augmentations: Sequence[Mapping[str, Any]]) -> Chain:
    """A chain from plain data, e.g. of a recipe: `[{"name": "gain", "probability": 0.5, "min_gain_db": -6}]`.

    Raises:
        ConfigurationError: if an entry is not a mapping with a name, or an option or probability is wrong.
    """
    return Chain(_parsed(augmentations))


def check_chain(augmentations: Sequence[Mapping[str, Any]]) -> None:
    """Check names, options, types and probabilities without building anything, so that no folder need be there.

    Raises:
        ConfigurationError: as `build_chain` does, but for values that only a transform can judge.
    """
    for spec, probability in _parsed(augmentations):
        AUGMENTATIONS.check(spec)
        curriculum(f"augmentation {spec.name!r}", probability)


def _parsed(augmentations: Sequence[Mapping[str, Any]]) -> list[tuple[Spec, Probability]]:
    if not isinstance(augmentations, list | tuple):
        raise ConfigurationError(f"augmentations are a list of mappings with 'name', not {augmentations!r}")
    steps: list[tuple[Spec, Probability]] = []
    for entry in augmentations:
        spec = Spec.parse(entry)
        options = {key: value for key, value in spec.options.items() if key != "probability"}
        steps.append((Spec(spec.name, options), spec.options.get("probability", 1.0)))
    return steps
