"""Operations of the suites: a waveform in, a degraded one out, with the parameters that were drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from veravox.augment.guard import checked_call

PEAK = 10 ** (-0.1 / 20)
"""What a result above full scale is scaled to: -0.1 dB of full scale."""


@dataclass(frozen=True)
class Degraded:
    """A degraded waveform, its sampling rate, and the parameters that were drawn for it."""

    waveform: np.ndarray
    sample_rate_hz: int
    parameters: dict[str, Any]


Process = Callable[[np.ndarray, int, np.random.Generator], Degraded]


@dataclass(frozen=True)
class Operation:
    """One named operation of a suite.

    Attributes:
        name: as the challenge's table has it.
        process: draws parameters and degrades.
        keeps_time: False where time is the operation.
        missing: what must be installed before it can run; None if nothing.
        intended: what a measurement should find, from the parameters, in the words of `measures`.
    """

    name: str
    process: Process
    keeps_time: bool = True
    missing: Callable[[], str | None] = lambda: None
    intended: Callable[[Mapping[str, Any]], dict[str, float]] = field(default=lambda parameters: {})

    @property
    def slug(self) -> str:
        """The name as part of file names and ids."""
        return self.name.replace(" + ", "-").replace(" ", "-").lower()

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int, seed: int) -> Degraded:
        """Degrade a waveform, repeatably.

        The level rule: a result whose peak exceeds full scale is scaled to -0.1 dB of it, which the parameter
        `gain_db` tells; every other result keeps the level that the operation gives it.

        Args:
            waveform: float32, shape (samples,).
            sample_rate_hz: of the waveform.
            seed: of this file; gives the same result again.
        Raises:
            AugmentationError: naming the operation, if it cannot be done.
        """
        made: list[Degraded] = []

        def transform(source: np.ndarray, rate_hz: int, rng: np.random.Generator) -> np.ndarray:
            made.append(self.process(source, rate_hz, rng))
            return made[0].waveform

        rng = np.random.default_rng(seed)
        result = checked_call(lambda: f"operation {self.name!r}", transform, waveform, sample_rate_hz, rng, False)
        parameters, peak = dict(made[0].parameters), float(np.abs(result).max())
        if peak > 1:
            result = result * np.float32(PEAK / peak)
            parameters["gain_db"] = round(20 * np.log10(PEAK / peak), 2)
        return Degraded(result, made[0].sample_rate_hz, parameters)


def drawn(rng: np.random.Generator, low: float, high: float, digits: int = 2) -> float:
    """A uniform number, rounded before it is used, so that what is recorded is what was done."""
    return round(float(rng.uniform(low, high)), digits)
