"""What is fake inside a partly fake utterance."""

from __future__ import annotations

import os

import polars as pl

from veravox.errors import ProtocolError, first_few
from veravox.tables.files import read_table, write_table
from veravox.tables.labels import standard_labels


class Segments:
    """What is fake inside a partly fake utterance: `utterance_id`, `start_s`, `end_s`, `label`.

    Raises:
        ProtocolError: for missing columns, unknown labels, or a segment that ends before it starts.
    """

    def __init__(self, frame: pl.DataFrame, name: str = "segments") -> None:
        for column in ("utterance_id", "start_s", "end_s", "label"):
            if column not in frame.columns:
                raise ProtocolError(f"{name}: the column {column!r} is missing; found: {', '.join(frame.columns)}")
        frame = frame.with_columns(
            pl.col("utterance_id").cast(pl.String), pl.col("start_s", "end_s").cast(pl.Float64)
        )
        wrong = frame.filter(~(pl.col("end_s") > pl.col("start_s")))
        if len(wrong):
            raise ProtocolError(
                f"{name}: segments end before they start, first in {first_few(wrong['utterance_id'])}"
            )
        self.frame = standard_labels(frame, name)
        self.name = name

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Segments:
        """Read .csv or .parquet."""
        return cls(read_table(path, ProtocolError), name=str(path))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write .csv or .parquet."""
        write_table(self.frame, path)
