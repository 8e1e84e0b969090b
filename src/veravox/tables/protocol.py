"""The list of trials: a checked table, one row a trial."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from veravox.errors import ProtocolError, first_few, suggest
from veravox.tables.files import BATCH_ROWS, read_table, table_batches, table_text, write_table
from veravox.tables.labels import standard_labels

PROTOCOL_COLUMNS: tuple[str, ...] = (
    "utterance_id",
    "path",
    "label",
    "attack_id",
    "domain",
    "source_id",
    "speaker_id",
    "text_id",
    "language",
    "codec",
    "degradation",
    "split",
)
"""The columns with a fixed meaning, all text. Further columns pass through."""


class Protocol:
    """A checked table, one row a trial. Immutable: every operation gives a new one.

    Args:
        frame: at least `utterance_id`; columns of `PROTOCOL_COLUMNS` become text, others pass through.
        name: what messages call it.
        root: folder that relative paths start from; the current one if None.
        undecodable: table text of a path whose name is not UTF-8, to the path itself.
    Raises:
        ProtocolError: for missing or doubled ids, or unknown labels.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        name: str = "protocol",
        root: str | os.PathLike[str] | None = None,
        undecodable: Mapping[str, str] | None = None,
    ) -> None:
        if "utterance_id" not in frame.columns:
            raise ProtocolError(
                f"{name}: the column 'utterance_id' is missing; found: {', '.join(frame.columns) or 'no columns'}"
            )
        text = [column for column in PROTOCOL_COLUMNS if column in frame.columns]
        frame = frame.with_columns(pl.col(text).cast(pl.String))
        ids = frame["utterance_id"]
        empty = ids.is_null() | (ids == "")
        if empty.any():
            rows = (empty.arg_true() + 1).to_list()
            raise ProtocolError(f"{name}: rows without utterance_id: {first_few(rows)}")
        if ids.n_unique() != len(ids):
            doubled = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
            raise ProtocolError(f"{name}: utterance_id must be unique; given more than once: {first_few(doubled)}")
        self.frame = standard_labels(frame, name)
        self.name = name
        self.root = Path(root) if root is not None else None
        self._undecodable = dict(undecodable or {})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Protocol:
        """Read a .csv or .parquet protocol; relative audio paths start from its folder.

        Raises:
            ProtocolError: if the file cannot be read or its rows are wrong.
        """
        return cls(read_table(path, ProtocolError), name=str(path), root=Path(path).parent)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], name: str = "protocol", **options: Any) -> Protocol:
        """A protocol from dictionaries, one a trial."""
        listed = list(rows)
        columns = list(dict.fromkeys(key for row in listed for key in row)) or ["utterance_id"]
        data = {column: [row.get(column) for row in listed] for column in columns}
        return cls(pl.DataFrame(data, strict=False), name=name, **options)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write .csv or .parquet; relative audio paths are rewritten to start from the new folder."""
        frame = self.frame
        if "path" in frame.columns and self.root is not None:
            here = Path(path).resolve().parent
            if here != self.root.resolve():
                frame = frame.with_columns(pl.Series("path", self._rebased(here), dtype=pl.String))
        write_table(frame, path)

    def _rebased(self, folder: Path) -> list[str | None]:
        assert self.root is not None
        start = os.path.relpath(self.root.resolve(), folder)
        return [
            value if value is None or os.path.isabs(value) else os.path.normpath(os.path.join(start, value))
            for value in self.frame["path"]
        ]

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.frame.iter_rows(named=True)

    def __repr__(self) -> str:
        return f"Protocol({self.name!r}, {len(self)} trials)"

    @property
    def utterance_ids(self) -> list[str]:
        """The ids, in order."""
        return self.frame["utterance_id"].to_list()

    def require(self, *columns: str) -> None:
        """Check that columns are there and have no empty cell.

        Raises:
            ProtocolError: naming the column, and the first trials without a value.
        """
        for column in columns:
            if column not in self.frame.columns:
                raise ProtocolError(
                    f"{self.name}: the column {column!r} is missing; found: {', '.join(self.frame.columns)}"
                )
            empty = self.frame.filter(pl.col(column).is_null())
            if len(empty):
                raise ProtocolError(
                    f"{self.name}: {len(empty)} trials have no {column}, first {first_few(empty['utterance_id'])}"
                )

    def audio_paths(self) -> list[str]:
        """Where each trial's audio lies, ready to open.

        Raises:
            ProtocolError: if `path` is missing or empty somewhere.
        """
        self.require("path")
        values = [self._undecodable.get(value, value) for value in self.frame["path"]]
        return values if self.root in (None, Path()) else [os.path.join(self.root, value) for value in values]

    def with_frame(self, frame: pl.DataFrame, name: str | None = None) -> Protocol:
        """The same protocol with other rows or columns."""
        return Protocol(frame, name or self.name, self.root, self._undecodable)

    def where(self, /, **columns: str | Sequence[str]) -> Protocol:
        """Only the trials whose columns, read as text, have the given value, or one of the given values."""
        frame = self.frame
        for column, wanted in columns.items():
            if column not in frame.columns:
                raise ProtocolError(f"{self.name} has no column {column!r}; {suggest(column, frame.columns)}")
            values = [wanted] if isinstance(wanted, str) else list(wanted)
            frame = frame.filter(pl.col(column).cast(pl.String).is_in(values))
        return self.with_frame(frame)

    def shard(self, index: int, count: int) -> Protocol:
        """Part `index` (from 1) of `count`: a contiguous, balanced run of trials; all parts make the whole."""
        first, last = shard_bounds(len(self), index, count)
        return self.with_frame(self.frame[first:last])


def read_protocol(path: str | os.PathLike[str]) -> Protocol:
    """Read a .csv or .parquet protocol. See `Protocol.read`."""
    return Protocol.read(path)


def protocol_from_paths(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Protocol:
    """A protocol of files: the id of a file is its path as given; a path named twice is one trial."""
    paths = [paths] if isinstance(paths, str | os.PathLike) else paths
    given = list(dict.fromkeys(os.fspath(path) for path in paths))
    shown = [table_text(path) for path in given]
    undecodable = {text: path for text, path in zip(shown, given, strict=True) if text != path}
    frame = pl.DataFrame(
        {"utterance_id": shown, "path": shown}, schema={"utterance_id": pl.String, "path": pl.String}
    )
    return Protocol(frame, name="the given files", root=Path(), undecodable=undecodable)


@dataclass(frozen=True)
class TrialList:
    """The whole list that a run scores a shard of: how many trials, and a hash of their ids and paths."""

    count: int
    sha256: str

    @classmethod
    def of(cls, protocol: Protocol) -> TrialList:
        """The list of a protocol."""
        return cls._of_batches(protocol.frame.iter_slices(BATCH_ROWS))

    @classmethod
    def _of_batches(cls, batches: Iterable[pl.DataFrame]) -> TrialList:
        digest, count = hashlib.sha256(), 0
        for frame in batches:
            names = [name for name in ("utterance_id", "path", "start_s", "end_s") if name in frame.columns]
            text = frame.select(pl.col(names).cast(pl.String)).write_csv(include_header=not count)
            digest.update(text.encode())
            count += len(frame)
        return cls(count, digest.hexdigest())


def read_shard(path: str | os.PathLike[str], index: int, count: int) -> tuple[Protocol, TrialList]:
    """Part `index` (from 1) of `count` of a protocol, and the whole list; memory holds the part, not the whole.

    The part is that of `Protocol.shard`.

    Raises:
        ProtocolError: as `Protocol.read` and `Protocol.shard`.
    """
    if (index, count) == (1, 1):
        protocol = Protocol.read(path)
        return protocol, TrialList.of(protocol)
    ids = []

    def noted(frame: pl.DataFrame) -> pl.DataFrame:
        if "utterance_id" not in frame.columns:
            Protocol(frame.clear(), name=str(path))  # for its error
        ids.append(frame["utterance_id"].cast(pl.String).hash().to_numpy())
        return frame

    trials = TrialList._of_batches(map(noted, table_batches(path, ProtocolError)))
    if len(np.unique(np.concatenate(ids))) < trials.count:
        protocol = Protocol.read(path)  # for its error; two ids may also share a hash
        return protocol.shard(index, count), trials
    first, last = shard_bounds(trials.count, index, count)
    pieces, seen = [], 0
    for frame in table_batches(path, ProtocolError):
        pieces.append(frame[max(0, first - seen) : max(0, last - seen)])
        seen += len(frame)
    return Protocol(pl.concat(pieces), name=str(path), root=Path(path).parent), trials


def shard_bounds(trials: int, index: int, count: int) -> tuple[int, int]:
    """First trial, and one past the last, of part `index` (from 1) of `count`.

    Raises:
        ProtocolError: if there is no such part.
    """
    if not 1 <= index <= count:
        raise ProtocolError(f"shard {index}/{count} does not exist; the first is 1/{count}")
    return (trials * (index - 1)) // count, (trials * index) // count
