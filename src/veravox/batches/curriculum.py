"""A probability, fixed or changing with the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from veravox.errors import ConfigurationError

Probability = float | Mapping[int, float]


def curriculum(owner: str, probability: Any) -> dict[int, float]:
    """Epoch to probability, in order of epochs; a plain number holds from epoch 0.

    Raises:
        ConfigurationError: naming the owner, if a value is outside [0, 1] or an epoch is no count.
    """
    given = probability if isinstance(probability, Mapping) else {0: probability}
    reached: dict[int, float] = {}
    for epoch, value in given.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= 1:
            raise ConfigurationError(f"{owner}: probability must be in [0, 1], not {value!r}")
        if not str(epoch).isdecimal():
            raise ConfigurationError(f"{owner}: epochs of a probability count from 0, not {epoch!r}")
        reached[int(epoch)] = float(value)
    if not reached:
        raise ConfigurationError(f"{owner}: the probability per epoch is empty")
    return dict(sorted(reached.items()))


def at_epoch(curriculum: Mapping[int, float], epoch: int) -> float:
    """The probability that holds in an epoch; 0 before the first."""
    reached = [value for start, value in curriculum.items() if start <= epoch]
    return reached[-1] if reached else 0.0


def plain(curriculum: Mapping[int, float]) -> Any:
    """The curriculum as it is written: a number alone where it never changes."""
    return curriculum[0] if set(curriculum) == {0} else dict(curriculum)
