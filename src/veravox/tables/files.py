"""Tables as files: CSV and Parquet in and out, ids always as text."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from veravox.errors import OutputError, VeravoxError
from veravox.files import whole_file

TABLE_SUFFIXES = (".csv", ".parquet")


def read_table(path: str | os.PathLike[str], error: type[VeravoxError]) -> pl.DataFrame:
    """Read CSV (every column as text, so `007` stays `007`) or Parquet.

    Raises:
        error: of the given type, if the file is absent, unreadable, empty or of another kind.
    """
    file = Path(path)
    if not file.is_file():
        raise error(f"{str(file)!r} does not exist or is not a file")
    try:
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(readable(file), glob=False)  # `a[1].csv` is a name, not a pattern
        if file.suffix.lower() == ".csv":
            with file.open("rb") as opened:
                if opened.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                    raise error(f"{str(file)!r} is text in UTF-16; save it as CSV in UTF-8")
            frame = pl.read_csv(readable(file), infer_schema=False, null_values=[""], glob=False)
            return _refuse_doubled(frame, file, error)
    except (pl.exceptions.PolarsError, OSError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise error(f"{str(file)!r} cannot be read as a table: {reason}") from problem
    raise error(f"{str(file)!r} is neither .csv nor .parquet")


def readable(file: Path) -> Path | bytes:
    """A file as polars can take it: its content where its name is not UTF-8."""
    return file if table_text(str(file)) == str(file) else file.read_bytes()


def _refuse_doubled(frame: pl.DataFrame, file: Path, error: type[VeravoxError]) -> pl.DataFrame:
    """A table whose first line names no column twice; the reader gives the second one another name."""
    doubled = [name.rpartition("_duplicated_")[0] for name in frame.columns if "_duplicated_" in name]
    wrong = [name for name in doubled if name in frame.columns]
    if wrong:
        raise error(f"{str(file)!r} names the column {wrong[0]!r} twice; rename or remove one of them")
    return frame


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
