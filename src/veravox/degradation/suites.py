"""Suites by name: which operations, in which order; two are the challenge's."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from veravox.degradation.laundering import launderings
from veravox.degradation.neural_codecs import neural_codings
from veravox.degradation.operations import Operation
from veravox.degradation.post_processing import post_processings
from veravox.degradation.silences import silences
from veravox.errors import ConfigurationError, suggest

AFTER = "vorbis 16k"
"""The neural codecs come after this one in the challenge's table."""


def _task_2() -> list[Operation]:
    operations = post_processings()
    place = [operation.name for operation in operations].index(AFTER) + 1
    return [*operations[:place], *neural_codings(), *operations[place:]]


SUITES: dict[str, Callable[[], list[Operation]]] = {
    "safe-task2": _task_2,
    "safe-task3": launderings,
    "silence": silences,
}


def suite_operations(suite: str, only: Sequence[str] = ()) -> list[Operation]:
    """The operations of a suite, or those of them that are named.

    Raises:
        ConfigurationError: for an unknown suite or operation.
    """
    if suite not in SUITES:
        raise ConfigurationError(f"unknown suite {suite!r}; {suggest(suite, SUITES)}")
    operations = SUITES[suite]()
    names = [operation.name for operation in operations]
    for name in only:
        if name in SUITES and name not in names:
            raise ConfigurationError(f"{name!r} is a suite of its own; take it with --suite {name}")
        if name not in names:
            raise ConfigurationError(f"suite {suite!r} has no operation {name!r}; {suggest(name, names)}")
    return [operation for operation in operations if not only or operation.name in only]
