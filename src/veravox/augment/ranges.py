"""Checks on the options that augmentations share: a pair of limits, a list of choices."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from veravox.errors import ConfigurationError, suggest


def check_range(owner: str, low_name: str, low: float, high_name: str, high: float) -> None:
    """Check that two limits are finite and in order.

    Raises:
        ConfigurationError: naming the owner and both options.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ConfigurationError(f"{owner}: {low_name} ({low}) must not be above {high_name} ({high})")


def check_positive(owner: str, **values: float) -> None:
    """Check that every given option is finite and above zero.

    Raises:
        ConfigurationError: naming the owner and the option.
    """
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ConfigurationError(f"{owner}: {name} must be above 0, not {value}")


def check_within(owner: str, low: float, high: float, **values: float) -> None:
    """Check that every given option lies from `low` to `high`.

    Raises:
        ConfigurationError: naming the owner and the option.
    """
    for name, value in values.items():
        if not low <= value <= high:
            raise ConfigurationError(f"{owner}: {name} must be from {low:g} to {high:g}, not {value}")


def check_choices(owner: str, option: str, chosen: Sequence[str], known: Iterable[str]) -> None:
    """Check that a list of names is not empty and holds known names only.

    Raises:
        ConfigurationError: naming the owner, the option and the nearest known name.
    """
    names = list(known)
    if not chosen:
        raise ConfigurationError(f"{owner}: {option} is empty; known: {', '.join(names)}")
    for name in chosen:
        if name not in names:
            raise ConfigurationError(f"{owner}: unknown value {name!r} in {option}; {suggest(name, names)}")
