"""Which trials belong together: groups by the columns of a protocol, and named pools of datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from veravox.errors import EvaluationError, first_few, suggest
from veravox.tables import BONA_FIDE, SPOOF, Protocol, Scores

Members = NDArray[np.intp]
EMPTY = "(empty)"
NO_VALUE = ("", "-")


@dataclass(frozen=True, eq=False)
class Group:
    """The positions of some trials in the joined table, and what they have in common.

    Args:
        column: the column, or several joined by `,`; empty for the whole.
        name: its value.
        members: positions, shape (trials,).
        note: which trials of the other class stand against it.
        side: the class that the column divides, `bonafide` or `spoof`; empty if both.
    """

    column: str
    name: str
    members: Members
    note: str = ""
    side: str = ""


def _columns(by: str | Sequence[str], frame: pl.DataFrame) -> list[str]:
    names = by.split(",") if isinstance(by, str) else list(by)
    names = [name.strip() for name in names]
    for name in names:
        if name not in frame.columns:
            raise EvaluationError(f"there is no column {name!r} to group by; {suggest(name, frame.columns)}")
    return names


def group_by(frame: pl.DataFrame, by: str | Sequence[str], against: str = "all") -> list[Group]:
    """Groups of a joined table by one column or several, sorted by name; degradations in the suite's order.

    A column that only one class has (`attack_id` of spoof, the source of real recordings) groups that class; all
    trials of the other stand against each group, or, with `against` naming a column such as `domain`, those that
    share its values with the group. A column that both classes have groups both.

    Raises:
        EvaluationError: for an unknown column, or one without any value.
    """
    names = _columns(by, frame)
    title = ",".join(names)
    values = [pl.col(name).cast(pl.String).str.strip_chars() for name in names]
    known = pl.all_horizontal([value.is_not_null() & ~value.is_in(NO_VALUE) for value in values])
    shown = pl.concat_str([value.fill_null(EMPTY).replace("", EMPTY) for value in values], separator=", ")
    table = frame.select(
        shown.alias("group"), known.alias("known"), (pl.col("label") == BONA_FIDE).alias("bona_fide")
    ).with_row_index("row")
    sides = _sides(table, names)
    grouped = table.filter(pl.col("bona_fide").is_in([side == BONA_FIDE for side in sides]))
    if not grouped["known"].any():
        raise EvaluationError(f"the column {title!r} has no values to group by")
    groups = []
    parts = list(grouped.group_by(["group"], maintain_order=True))
    if names != ["degradation"]:  # a degraded protocol has them as its suite does, the original first
        parts.sort(key=lambda item: str(item[0][0]))
    for (name,), rows in parts:
        members = rows["row"].to_numpy().astype(np.intp)
        note = ""
        if len(sides) == 1:
            others, note = _others(frame, table, members, SPOOF if sides[0] == BONA_FIDE else BONA_FIDE, against)
            members = np.sort(np.concatenate((members, others)))
        groups.append(Group(title, str(name), members, note, sides[0] if len(sides) == 1 else ""))
    return groups


def _sides(table: pl.DataFrame, names: list[str]) -> list[str]:
    """The classes that the columns divide; an attack is always one of spoof."""
    with_values = [
        label
        for label, side in ((BONA_FIDE, True), (SPOOF, False))
        if table.filter(pl.col("bona_fide") == side)["known"].any()
    ]
    return [SPOOF] if "attack_id" in names and SPOOF in with_values else with_values or [BONA_FIDE, SPOOF]


def _others(
    frame: pl.DataFrame, table: pl.DataFrame, members: Members, label: str, against: str
) -> tuple[Members, str]:
    """The trials of the other class that stand against a group, and who they are in words."""
    other = (table["bona_fide"] == (label == BONA_FIDE)).to_numpy()
    word = "bona fide" if label == BONA_FIDE else "spoof"
    if against == "all":
        found = np.flatnonzero(other)
        return found, f"against all {len(found)} {word}"
    if against not in frame.columns:
        raise EvaluationError(
            f"the {word} side cannot be of the same {against!r}: there is no such column; use 'all' or a column"
        )
    values = frame[against].cast(pl.String)
    shared = values.gather(members).drop_nulls().unique()
    found = np.flatnonzero(other & values.is_in(shared.implode()).fill_null(False).to_numpy())
    return found, f"against {len(found)} {word} of the same {against}"


@dataclass(frozen=True, eq=False)
class PoolMembers:
    """A named pool: its datasets, and all their trials together."""

    name: str
    datasets: tuple[Group, ...]
    together: Group


def pools_of(frame: pl.DataFrame, pools: Mapping[str, Sequence[str]], column: str = "domain") -> list[PoolMembers]:
    """Named pools of the values of one column; `*` stands for all values.

    Raises:
        EvaluationError: for an unknown column or value, or a value named twice.
    """
    if column not in frame.columns:
        raise EvaluationError(
            f"pools are of the values of the column {column!r}, which is not there; name another with pool_column "
            f"(--pool-column); found: {', '.join(frame.columns)}"
        )
    values = frame[column].cast(pl.String)
    found = sorted(values.drop_nulls().unique().to_list())
    result = []
    for name, wanted in pools.items():
        listed = found if list(wanted) == ["*"] else [value.strip() for value in wanted]
        for value in listed:
            if value not in found:
                raise EvaluationError(f"pool {name!r}: no trial has {column} {value!r}; {suggest(value, found)}")
        if not listed or len(set(listed)) < len(listed):
            raise EvaluationError(f"pool {name!r} must name each of its datasets once; got {first_few(listed, 9)}")
        datasets = tuple(Group(column, value, np.flatnonzero((values == value).to_numpy())) for value in listed)
        together = np.sort(np.concatenate([dataset.members for dataset in datasets]))
        result.append(PoolMembers(name, datasets, Group(column, name, together)))
    return result


def pools_from_text(texts: Sequence[str]) -> dict[str, list[str]]:
    """Pools written as `known=a,b,c`; `all=*` is every dataset.

    Raises:
        EvaluationError: for a text of another form, or a name given twice.
    """
    pools: dict[str, list[str]] = {}
    for text in texts:
        name, equals, members = text.partition("=")
        if not name or not equals or not members:
            raise EvaluationError(f"a pool is written NAME=a,b,c; got {text!r}")
        if name in pools:
            raise EvaluationError(f"the pool {name!r} is given twice")
        pools[name] = [member.strip() for member in members.split(",")]
    return pools


def restrict(scores: Scores, protocol: Protocol, where: Sequence[str]) -> tuple[Scores, Protocol]:
    """Only the trials of a protocol that satisfy every `COLUMN=VALUE`, with their scores.

    Scores of the trials left out are left out too; scores of trials that the protocol does not know stay, so that
    they are named as errors later.

    Raises:
        EvaluationError: for a text of another form, or if no trial is left.
        ProtocolError: for an unknown column.
    """
    if not where:
        return scores, protocol
    kept = protocol
    for text in where:
        column, equals, value = text.partition("=")
        if not column or not equals:
            raise EvaluationError(f"a condition is written COLUMN=VALUE; got {text!r}")
        kept = kept.where(**{column: value})
    if not len(kept):
        raise EvaluationError(f"no trial of {protocol.name!r} has {', '.join(where)}")
    scores = scores.named_as_in(protocol)
    left_out = protocol.frame.join(kept.frame, on="utterance_id", how="anti").select("utterance_id")
    frame = scores.frame.join(left_out, on="utterance_id", how="anti")
    return Scores(frame, scores.failures, scores.windows, scores.name), kept
