"""Copy-synthesis in training: which windows become spoofed, wholly or in parts."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veravox.augment.synthesis import SYNTHESES
from veravox.batches.curriculum import Probability, at_epoch, curriculum
from veravox.batches.splicing import splice
from veravox.errors import ConfigurationError
from veravox.registry import Spec
from veravox.tables import SPOOF

MIN_PIECE_S = 0.2


@dataclass(frozen=True)
class SpoofedCopy:
    """What a bona fide window became; pair it with its original.

    `pieces` are (start_s, end_s, label) and cover all of it.
    """

    waveform: np.ndarray
    attack_id: str
    pieces: tuple[tuple[float, float, str], ...]
    label: str = SPOOF


class CopySynthesis:
    """Makes spoofed copies of bona fide windows: by which synthesis, and whether only in parts, is drawn.

    Args:
        choices: pairs of a Spec and the probability that this synthesis is used, a number or a curriculum; in no
            epoch is their sum above 1.
        splice_probability: how often a copy replaces only parts of its original; a number or a curriculum.
        epoch: where in the curricula this object stands.
    Raises:
        ConfigurationError: for unknown names or options, or probabilities that do not fit.
    """

    def __init__(
        self,
        choices: Sequence[tuple[Spec, Probability]],
        splice_probability: Probability = 0.0,
        epoch: int = 0,
    ) -> None:
        self.choices, self.splices = _checked(choices, splice_probability)
        self.epoch = epoch
        self._syntheses = [SYNTHESES.build(spec) for spec, _ in self.choices]

    @property
    def probabilities(self) -> list[float]:
        """The probability of each synthesis at this epoch."""
        return [at_epoch(each, self.epoch) for _, each in self.choices]

    def at_epoch(self, epoch: int) -> CopySynthesis:
        """The same at another point of its curricula; the syntheses are shared."""
        other = copy.copy(self)
        other.epoch = epoch
        return other

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> SpoofedCopy | None:
        """A spoofed copy of a bona fide waveform, aligned with it, or None if the draw says so."""
        draw, spliced = rng.random(2)
        chosen = int(np.searchsorted(np.cumsum(self.probabilities), draw, side="right"))
        return None if chosen == len(self.choices) else self._copy(chosen, spliced, waveform, sample_rate_hz, rng)

    def copy(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> SpoofedCopy:
        """A spoofed copy in any case; the probabilities only choose among the syntheses.

        Raises:
            AugmentationError: naming the synthesis, if it cannot be done.
        """
        draw, spliced = rng.random(2)
        reached = np.cumsum(self.probabilities)
        chosen = int(np.searchsorted(reached, draw * reached[-1], side="right"))
        return self._copy(min(chosen, len(self.choices) - 1), spliced, waveform, sample_rate_hz, rng)

    def _copy(
        self, chosen: int, spliced: float, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator
    ) -> SpoofedCopy:
        synthesis = self._syntheses[chosen]
        made = synthesis(waveform, sample_rate_hz, rng)
        duration_s = len(waveform) / sample_rate_hz
        if spliced < at_epoch(self.splices, self.epoch) and duration_s > 2 * MIN_PIECE_S:
            part = splice(waveform, made, sample_rate_hz, rng, min_piece_s=MIN_PIECE_S)
            return SpoofedCopy(part.waveform, synthesis.attack_id, part.pieces)
        return SpoofedCopy(made, synthesis.attack_id, ((0.0, duration_s, SPOOF),))


def build_synthesis(
    syntheses: Sequence[Mapping[str, Any]], splice_probability: Probability = 0.0
) -> CopySynthesis:
    """From plain data, e.g. of a recipe: `[{"name": "griffin_lim", "probability": 0.2, "iterations": 8}]`.

    Raises:
        ConfigurationError: if an entry is not a mapping with a name, or an option or probability is wrong.
    """
    return CopySynthesis(_parsed(syntheses), splice_probability)


def copied_share(
    syntheses: Sequence[Mapping[str, Any]], splice_probability: Probability = 0.0
) -> Callable[[int], float]:
    """The share of bona fide windows that are copied, by epoch. Names and options are checked, nothing is built.

    Raises:
        ConfigurationError: as `build_synthesis` does.
    """
    parsed = _parsed(syntheses)
    for spec, _ in parsed:
        SYNTHESES.check(spec)
    choices, _ = _checked(parsed, splice_probability)
    return lambda epoch: min(1.0, sum(at_epoch(each, epoch) for _, each in choices))


def _parsed(syntheses: Sequence[Mapping[str, Any]]) -> list[tuple[Spec, Probability]]:
    if not isinstance(syntheses, list | tuple):
        raise ConfigurationError(
            f"synthesis is a list of mappings with 'name' and 'probability', not {syntheses!r}"
        )
    choices: list[tuple[Spec, Probability]] = []
    for entry in syntheses:
        spec = Spec.parse(entry)
        if "probability" not in spec.options:
            raise ConfigurationError(f"synthesis {spec.name!r} needs a probability")
        options = {key: value for key, value in spec.options.items() if key != "probability"}
        choices.append((Spec(spec.name, options), spec.options["probability"]))
    return choices


def _checked(
    choices: Sequence[tuple[Spec, Probability]], splice_probability: Probability
) -> tuple[list[tuple[Spec, dict[int, float]]], dict[int, float]]:
    curricula = [(spec, curriculum(f"synthesis {spec.name!r}", each)) for spec, each in choices]
    for epoch in {start for _, each in curricula for start in each}:
        total = sum(at_epoch(each, epoch) for _, each in curricula)
        if total > 1 + 1e-9:
            raise ConfigurationError(
                f"synthesis: probabilities must sum to at most 1, not {total:g} (epoch {epoch})"
            )
    return curricula, curriculum("synthesis: splices", splice_probability)
