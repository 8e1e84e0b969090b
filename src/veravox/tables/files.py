"""Tables as files: CSV and Parquet in and out, ids always as text."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

from veravox.errors import OutputError, VeravoxError
from veravox.files import whole_file

TABLE_SUFFIXES = (".csv", ".parquet")
BLOCK_BYTES = 2**24
BATCH_ROWS = 2**17
SHOWN = 80


def read_table(path: str | os.PathLike[str], error: type[VeravoxError]) -> pl.DataFrame:
    """Read CSV (every column as text, so `007` stays `007`) or Parquet; empty lines are no rows.

    Raises:
        error: of the given type, if the file is absent, unreadable, empty or of another kind, or if a line of CSV
            has another number of fields than the first.
    """
    file = _table_file(path, error)
    with _readable(file, error):
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(readable(file), glob=False)  # `a[1].csv` is a name, not a pattern
        for _ in _checked_blocks(file, error):
            pass
        return _parsed(readable(file), file, error)


def table_batches(path: str | os.PathLike[str], error: type[VeravoxError]) -> Iterator[pl.DataFrame]:
    """The rows of a table in order, a bounded number in memory at a time; as `read_table` otherwise."""
    file = _table_file(path, error)
    with _readable(file, error):
        if file.suffix.lower() == ".csv":
            header = b""
            for block in _checked_blocks(file, error):
                yield _parsed(header + block, file, error)
                header = header or _header(block)
        else:
            table = (
                pl.scan_parquet(file, glob=False) if is_utf8(file) else pl.read_parquet(file.read_bytes()).lazy()
            )
            rows = int(table.select(pl.len()).collect().item())
            for first in range(0, max(rows, 1), BATCH_ROWS):
                yield table.slice(first, BATCH_ROWS).collect()


def _table_file(path: str | os.PathLike[str], error: type[VeravoxError]) -> Path:
    file = Path(path)
    if not file.is_file():
        raise error(f"{str(file)!r} does not exist or is not a file")
    if file.suffix.lower() not in TABLE_SUFFIXES:
        raise error(f"{str(file)!r} is neither .csv nor .parquet")
    return file


@contextmanager
def _readable(file: Path, error: type[VeravoxError]) -> Iterator[None]:
    """Turns what a table's reader raises into one line."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise error(f"{str(file)!r} cannot be read as a table: {reason}") from problem


def is_utf8(file: Path) -> bool:
    """Whether the name of a file is text that polars can take."""
    return table_text(str(file)) == str(file)


def readable(file: Path) -> Path | bytes:
    """A file as polars can take it: its content where its name is not UTF-8."""
    return file if is_utf8(file) else file.read_bytes()


def _checked_blocks(file: Path, error: type[VeravoxError]) -> Iterator[bytes]:
    """The content of a CSV file in blocks of whole lines, every line with as many fields as the first."""
    fields, lines = 0, 0
    for block in _blocks(file):
        if not fields:
            if block[:2] in (b"\xff\xfe", b"\xfe\xff"):
                raise error(f"{str(file)!r} is text in UTF-16; save it as CSV in UTF-8")
            fields = _fields_of_header(_header(block), file, error)
        wrong = _first_other_width(block, fields)
        if wrong is not None:
            line, count, text = wrong
            raise error(
                f"{str(file)!r}, line {lines + line}: {count} fields where the first line has {fields}: "
                f"{text[:SHOWN]!r}; mend the line, or put quotes around fields that hold commas"
            )
        lines += block.count(b"\n")
        yield block


def _blocks(file: Path) -> Iterator[bytes]:
    rest = b""
    with file.open("rb") as opened:
        while piece := opened.read(BLOCK_BYTES):
            rest += piece
            end = _end_of_records(rest)
            if end:
                yield rest[:end]
                rest = rest[end:]
    if rest:
        yield rest


def _end_of_records(data: bytes) -> int:
    """One past the last line break that is not inside quotes; 0 if there is none."""
    end = data.rfind(b"\n") + 1
    while end and data.count(b'"', 0, end) % 2:
        end = data.rfind(b"\n", 0, end - 1) + 1
    return end


def _header(block: bytes) -> bytes:
    end = block.find(b"\n") + 1
    while end and block.count(b'"', 0, end) % 2:
        end = block.find(b"\n", end) + 1
    return block[:end] if end else block


def _fields_of_header(header: bytes, file: Path, error: type[VeravoxError]) -> int:
    other = next((mark for mark in (b";", b"\t", b"|") if mark in header), None)
    if other and b"," not in header:
        raise error(f"{str(file)!r} has {other.decode()!r} between its columns; save it as CSV with commas")
    return _first_fields(header)


def _first_fields(record: bytes) -> int:
    if b'"' not in record:
        return record.count(b",") + 1
    return len(next(csv.reader(io.StringIO(record.decode("utf-8-sig", "replace"), newline="")), []))


def _first_other_width(block: bytes, fields: int) -> tuple[int, int, str] | None:
    """Number from 1, fields and text of the first line that is neither empty nor has so many fields."""
    if b'"' in block:
        reader = csv.reader(io.StringIO(block.decode("utf-8-sig", "replace"), newline=""))
        rows = ((reader.line_num, len(row), ",".join(row)) for row in reader if row)
        return next((row for row in rows if row[1] != fields), None)
    data = np.frombuffer(block, np.uint8)
    ends = np.append(np.flatnonzero(data == ord("\n")), len(data))
    starts = np.append(0, ends[:-1] + 1)
    commas = np.flatnonzero(data == ord(","))
    counts = np.searchsorted(commas, ends) - np.searchsorted(commas, starts) + 1
    for line in np.flatnonzero(counts != fields):
        text = block[starts[line] : ends[line]].strip()
        if text.removeprefix(b"\xef\xbb\xbf"):
            return int(line) + 1, int(counts[line]), text.decode("utf-8", "replace")
    return None


def _parsed(source: Path | bytes, file: Path, error: type[VeravoxError]) -> pl.DataFrame:
    """CSV as text columns; spaces around names are no part of them, and rows of empty cells are no rows."""
    frame = pl.read_csv(source, infer_schema=False, null_values=[""], glob=False)
    doubled = [name.rpartition("_duplicated_")[0] for name in frame.columns if "_duplicated_" in name]
    names = [name.strip() for name in frame.columns]
    wrong = [name for name in doubled if name in frame.columns]  # polars gives the second one another name
    wrong += [name for name in names if names.count(name) > 1]
    if wrong:
        raise error(f"{str(file)!r} names the column {wrong[0]!r} twice; rename or remove one of them")
    frame.columns = names
    return frame.filter(~pl.all_horizontal(pl.all().is_null()))


def write_table(frame: pl.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write CSV or Parquet, by the ending of `path`; the file appears only when whole.

    Raises:
        OutputError: for another ending, or if it cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise OutputError(f"cannot write {str(path)!r}: the ending must be .csv or .parquet")
    # Through an open file, since a folder's name may not be UTF-8.
    with whole_file(path) as temporary, temporary.open("wb") as target:
        if suffix == ".csv":
            frame.write_csv(target, float_precision=None)
        else:
            frame.write_parquet(target)


def table_text(path: str) -> str:
    """A path as text that every table and terminal can hold: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
