"""Text files of columns without a stated form: the separator found, every ragged line named."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from veravox.errors import EvaluationError, first_few


def read_rows(path: str | os.PathLike[str]) -> pl.DataFrame:
    """A text file of columns as text, `column_1`, `column_2`, ...; split at commas, tabs or runs of spaces."""
    file = Path(path)
    if not file.is_file():
        raise EvaluationError(f"{str(file)!r} does not exist or is not a file")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        raise EvaluationError(f"{str(file)!r} cannot be read as text: {error}") from error
    lines = pl.Series("line", text.splitlines(), dtype=pl.String).str.strip_chars()
    numbers = (lines != "").arg_true()
    lines = lines.gather(numbers)
    if not len(lines):
        raise EvaluationError(f"{str(file)!r} is empty")
    separator = next((mark for mark in (",", ";", "\t") if mark in lines[0]), None)
    if separator in (",", ";") and '"' in text:
        return _quoted(text, separator, file)
    if separator is None:
        cells = lines.str.replace_all(r"\s+", " ").str.split(" ")
    else:
        whole = pl.Series("line", text.splitlines(), dtype=pl.String).gather(numbers)  # with empty last cells
        cells = (whole if separator == "\t" else lines).str.split(separator)
    widths = cells.list.len()
    odd = (widths != widths[0]).arg_true()
    if len(odd):
        where = first_few((numbers.gather(odd) + 1).to_list())
        raise EvaluationError(
            f"{str(file)!r}: lines {where} do not have {widths[0]} columns as the first line does; mend them"
        )
    names = [f"column_{index + 1}" for index in range(widths[0])]
    frame = cells.list.to_struct(fields=names).struct.unnest()
    return frame.with_columns(pl.all().str.strip_chars())


def _quoted(text: str, separator: str, file: Path) -> pl.DataFrame:
    """Separated text in which quotes protect separators."""
    try:
        return pl.read_csv(text.encode(), has_header=False, infer_schema=False, separator=separator)
    except pl.exceptions.PolarsError as error:
        raise EvaluationError(f"{str(file)!r} cannot be read as CSV: {str(error).splitlines()[0]}") from error
