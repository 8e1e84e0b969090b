"""The conditions of a protocol: all of it, each value of a column, and values added one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from veravox.errors import ProtocolError, suggest
from veravox.tables import BONA_FIDE, Protocol

Condition = tuple[str, str, np.ndarray]
"""Column, value, and the numbers of the trials."""


def bona_fide_trials(protocol: Protocol) -> np.ndarray:
    """Which trials are bona fide, shape (trials,)."""
    return np.array([label == BONA_FIDE for label in protocol.frame["label"]], dtype=bool)


def conditions(protocol: Protocol, by: Sequence[str] = ()) -> Iterator[Condition]:
    """All of the protocol, then each value of each column.

    Where a value has trials of one class alone (an attack), as many of the other class are drawn beside them.

    Raises:
        ProtocolError: for a column that is not there, with the nearest one.
    """
    yield "all", "all", np.arange(len(protocol))
    is_bona_fide = bona_fide_trials(protocol)
    for column in by:
        if column not in protocol.frame.columns:
            raise ProtocolError(
                f"{protocol.name}: no column {column!r}; {suggest(column, protocol.frame.columns)}"
            )
        values = protocol.frame[column].cast(pl.String).fill_null("-").to_numpy()
        for value in sorted(set(values)):
            if column == "attack_id" and value == "-":
                continue
            yield column, str(value), with_both_classes(np.flatnonzero(values == value), is_bona_fide)


def drifting(protocol: Protocol, column: str | None) -> Iterator[Condition]:
    """The most frequent value of a column alone, with the second, with the third ..."""
    if column is None:
        return
    parts = [(value, members) for name, value, members in conditions(protocol, [column]) if name == column]
    parts.sort(key=lambda part: (-len(part[1]), part[0]))
    together = np.zeros(0, dtype=int)
    for number, (value, members) in enumerate(parts):
        together = np.union1d(together, members)
        yield f"drift:{column}", f"{number + 1}: +{value}", together


def with_both_classes(members: np.ndarray, is_bona_fide: np.ndarray) -> np.ndarray:
    """The trials, and as many of the missing class where they lack one."""
    own = is_bona_fide[members]
    if own.any() and not own.all():
        return members
    others = np.flatnonzero(is_bona_fide != own.all())
    rng = np.random.default_rng((7, int(members[0])))
    return np.concatenate([members, rng.permutation(others)[: len(members)]])


__all__ = ["Condition", "bona_fide_trials", "conditions", "drifting", "with_both_classes"]
