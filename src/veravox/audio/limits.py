"""How much one file may cost to decode."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from veravox.errors import ConfigurationError

VARIABLE = "VERAVOX_LIMITS"


@dataclass(frozen=True)
class Limits:
    """Limits of decoding one file; what passes one of them is an `AudioError` that names it.

    Attributes:
        sound_s: seconds of sound.
        decode_s: processor seconds of decoding.
        memory_mb: memory of the decoding process, beyond what it holds when it starts.
    """

    sound_s: float = 5 * 3600.0
    decode_s: float = 120.0
    memory_mb: float = 512.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, (int, float)) or not value > 0:
                raise ConfigurationError(f"the limit {field.name} must be a number above 0, not {value!r}")

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Limits from `sound_s=36000,decode_s=600`; those that are not named keep their defaults.

        Raises:
            ConfigurationError: if a name is unknown or a value no number above 0.
        """
        values: dict[str, float] = {}
        for part in filter(None, text.split(",")):
            name, _, value = part.partition("=")
            try:
                values[name.strip()] = float(value)
            except ValueError:
                raise ConfigurationError(f"limit {part!r}: write NAME=NUMBER, e.g. sound_s=36000") from None
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ConfigurationError(f"unknown limit {unknown[0]!r}; there are sound_s, decode_s and memory_mb")
        return cls(**values)


def set_limits(limits: Limits) -> None:
    """Set the limits that hold where none are given, for this process and those it starts."""
    os.environ[VARIABLE] = ",".join(f"{field.name}={getattr(limits, field.name):.17g}" for field in fields(limits))


def current_limits() -> Limits:
    """The limits that hold where none are given: those of `set_limits`, or the defaults."""
    text = os.environ.get(VARIABLE)
    return Limits.parse(text) if text else Limits()


def exceeded(name: str, limits: Limits) -> str:
    """What a file that passes a limit is told, without its name."""
    value = getattr(limits, name)
    what = {
        "sound_s": f"holds more than {value:g} s of sound",
        "decode_s": f"takes more than {value:g} s of processor time to decode",
        "memory_mb": f"takes more than {value:g} MB of memory to decode",
    }[name]
    return f"{what}, the limit {name}; raise it (--limit {name}={2 * value:g}) if the file is to be trusted"
