"""What several commands take alike: flags spelt once, `NAME=VALUE` read once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from veravox.errors import ConfigurationError

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no notes.")]


def _set_limits(values: list[str] | None) -> list[str] | None:
    if values:
        from veravox.audio import Limits, set_limits

        set_limits(Limits.parse(",".join(values)))
    return values


Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=NUMBER",
        callback=_set_limits,
        help="Limit of decoding one file: sound_s, decode_s (processor time) or memory_mb; repeatable.",
    ),
]


def name_and_value(text: str, option: str, form: str = "NAME=VALUE") -> tuple[str, str]:
    """The two sides of `NAME=VALUE`.

    Args:
        text: as typed.
        option: where it was typed, for the message.
        form: how it is written, for the message.
    Raises:
        ConfigurationError: if there is no `=`, or nothing on one side of it.
    """
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value:
        raise ConfigurationError(f"{option} {text!r}: write it as {form}")
    return name.strip(), value


def names_and_values(texts: Iterable[str], option: str, form: str = "NAME=VALUE") -> dict[str, str]:
    """Several `NAME=VALUE` as a mapping.

    Raises:
        ConfigurationError: as `name_and_value`, and for a name that is given twice.
    """
    values: dict[str, str] = {}
    for text in texts:
        name, value = name_and_value(text, option, form)
        if name in values:
            raise ConfigurationError(f"{option}: {name!r} is given twice")
        values[name] = value
    return values
