"""Copy-synthesis in training: which windows become spoofed, wholly or in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from veravox.augment.splicing import splice
from veravox.augment.synthesis import SYNTHESES
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
    """Draws whether a bona fide window is copied, by which synthesis, and whether only in parts.

    Args:
        choices: pairs of a Spec and the probability that this synthesis is used; their sum is at most 1.
        splice_probability: how often a copy replaces only parts of its original.
    Raises:
        ConfigurationError: for unknown names or options, or probabilities that do not fit.
    """

    def __init__(self, choices: Sequence[tuple[Spec, float]], splice_probability: float = 0.0) -> None:
        self.choices = list(choices)
        self.splice_probability = splice_probability
        self._syntheses = [SYNTHESES.build(spec) for spec, _ in self.choices]
        self._reached = np.cumsum([probability for _, probability in self.choices])
        given = [*(probability for _, probability in self.choices), splice_probability]
        if min(given) < 0 or splice_probability > 1 or (len(self._reached) and self._reached[-1] > 1 + 1e-9):
            raise ConfigurationError("synthesis: probabilities must be in [0, 1], and sum to at most 1")

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> SpoofedCopy | None:
        """A spoofed copy of a bona fide waveform, aligned with it, or None if the draw says so."""
        draw, spliced = rng.random(2)
        chosen = int(np.searchsorted(self._reached, draw, side="right"))
        if chosen == len(self._syntheses):
            return None
        synthesis = self._syntheses[chosen]
        copy = synthesis(waveform, sample_rate_hz, rng)
        duration_s = len(waveform) / sample_rate_hz
        if spliced < self.splice_probability and duration_s > 2 * MIN_PIECE_S:
            part = splice(waveform, copy, sample_rate_hz, rng, min_piece_s=MIN_PIECE_S)
            return SpoofedCopy(part.waveform, synthesis.attack_id, part.pieces)
        return SpoofedCopy(copy, synthesis.attack_id, ((0.0, duration_s, SPOOF),))


def build_synthesis(syntheses: Sequence[Mapping[str, Any]], splice_probability: float = 0.0) -> CopySynthesis:
    """From plain data, e.g. of a recipe: `[{"name": "griffin_lim", "probability": 0.2, "iterations": 8}]`.

    Raises:
        ConfigurationError: if an entry is not a mapping with a name, or an option or probability is wrong.
    """
    choices: list[tuple[Spec, float]] = []
    for entry in syntheses:
        spec = Spec.parse(entry)
        probability = spec.options.get("probability")
        if not isinstance(probability, int | float):
            raise ConfigurationError(f"synthesis {spec.name!r} needs a probability")
        options = {key: value for key, value in spec.options.items() if key != "probability"}
        choices.append((Spec(spec.name, options), float(probability)))
    return CopySynthesis(choices, splice_probability)
