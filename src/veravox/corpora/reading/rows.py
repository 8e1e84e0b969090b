"""Key files to rows: separated by blanks, pipes or commas, with every wrong line named."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from veravox.errors import CorpusError, first_few, suggest
from veravox.tables import LABEL_ALIASES

LINE = "line_number"
SHOWN = 80


def read_text(path: str | os.PathLike[str]) -> str:
    """A key file's text without its byte-order mark.

    Raises:
        CorpusError: if it is absent, empty or not UTF-8.
    """
    file = Path(path)
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise CorpusError(f"the key file {str(file)!r} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise CorpusError(f"the key file {str(file)!r} is not UTF-8 text (byte {error.start})") from error
    if not text.strip():
        raise CorpusError(f"the key file {str(file)!r} is empty; download it again")
    return text


def read_fields(
    path: str | os.PathLike[str], columns: Sequence[str], separator: str = " ", more: bool = False
) -> pl.DataFrame:
    """Rows of a file WITHOUT a header: every line is a trial, the first one too.

    Args:
        path: text, one row a line; blank lines do not count.
        columns: their names; names that begin with `_` are read and left out.
        separator: a blank stands for any run of blanks and tabs.
        more: whether further columns may follow.
    Returns:
        The columns as text, and `line_number`.
    Raises:
        CorpusError: naming the first line with another number of columns.
    """
    text = read_text(path)
    lines = pl.Series("line", text.split("\n"), dtype=pl.String)
    frame = pl.DataFrame(
        {
            LINE: pl.int_range(1, len(lines) + 1, eager=True),
            "line": lines.str.strip_chars(None if separator == " " else "\r"),
        }
    )
    frame = frame.filter(pl.col("line") != "")
    if separator == " " and ("\t" in text or "  " in text):
        frame = frame.with_columns(pl.col("line").str.replace_all(r"[ \t]+", " "))
    counts = frame["line"].str.count_matches(separator, literal=True) + 1
    wrong = frame.filter((counts < len(columns)) if more else (counts != len(columns)))
    if len(wrong):
        number, line = wrong.row(0)
        has = line.count(separator) + 1
        raise CorpusError(
            f"{str(path)!r}, line {number}: {has} columns where {len(columns)} were expected "
            f"({' '.join(name.strip('_') for name in columns)}): {line[:SHOWN]!r}"
            + (f"; {len(wrong)} such lines" if len(wrong) > 1 else "")
        )
    fields = frame["line"].str.split_exact(separator, len(columns) - 1).struct.rename_fields(list(columns))
    rows = pl.concat([frame.select(LINE), fields.struct.unnest()], how="horizontal")
    return rows.select(pl.exclude(r"^_.*$"))


def read_headed(
    path: str | os.PathLike[str],
    needed: Sequence[str],
    separator: str = ",",
    quoted: bool = True,
    header: str | None = None,
) -> pl.DataFrame:
    """Rows of a file WITH a header, by the names in it, whatever their order.

    Args:
        path: text, the first line names the columns.
        needed: names that must be there.
        separator: between columns.
        quoted: False where a quotation mark is a plain character of the text (MLAAD).
        header: first column of the header, where lines of another kind may stand above it (DiffSSD).
    Returns:
        All columns as text, and `line_number`.
    Raises:
        CorpusError: for a missing column (with the nearest name) or a line with another number of columns.
    """
    rows = _split_quoted(path, separator, header) if quoted else _split_plain(path, separator)
    missing = [name for name in needed if name not in rows.columns]
    if missing:
        found = [name for name in rows.columns if name != LINE]
        raise CorpusError(
            f"{str(path)!r} has no column {missing[0]!r}; found: {', '.join(found)} ({suggest(missing[0], found)})"
        )
    return rows


def _split_plain(path: str | os.PathLike[str], separator: str) -> pl.DataFrame:
    first = read_text(path).strip("\r\n").split("\n", 1)[0].strip("\r")
    header = [name.strip() for name in first.split(separator)]
    odd = {"", LINE} | {name for name in header if header.count(name) > 1 or name.startswith("_")}
    names = [f"column_{place}" if name in odd else name for place, name in enumerate(header, 1)]
    rows = read_fields(path, names, separator)
    texts = [name for name in rows.columns if name != LINE]
    return rows[1:].with_columns(pl.col(texts).replace("", None))


def _split_quoted(path: str | os.PathLike[str], separator: str, header: str | None = None) -> pl.DataFrame:
    text = read_text(path)
    above = 0
    if header is not None:
        lines = text.splitlines(keepends=True)
        above = next((n for n, line in enumerate(lines) if line.split(separator)[0].strip() == header), 0)
        text = "".join(lines[above:])
    try:
        rows = pl.read_csv(text.encode(), separator=separator, infer_schema=False, null_values=[""])
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise CorpusError(f"{str(path)!r} cannot be read as a table: {reason}") from error
    stripped = [name.strip() for name in rows.columns]
    if len(set(stripped)) == len(stripped):
        rows.columns = stripped
    first = above + 2
    return rows.with_columns(pl.int_range(first, len(rows) + first, dtype=pl.Int64).alias(LINE))


def with_labels(rows: pl.DataFrame, path: str | os.PathLike[str], column: str = "label") -> pl.DataFrame:
    """The rows with `label` in the standard spelling.

    Raises:
        CorpusError: naming the first line whose label is empty or unknown (as in a file with shifted columns).
    """
    text = rows[column].str.strip_chars().str.to_lowercase()
    labels = text.replace_strict(LABEL_ALIASES, default=None, return_dtype=pl.String)
    wrong = rows.filter(labels.is_null())
    if len(wrong):
        value, number = wrong[column][0], wrong[LINE][0]
        what = f"the label {value!r} is unknown" if value not in (None, "", "-") else "the label is missing"
        raise CorpusError(
            f"{str(path)!r}, line {number}: {what}; are columns shifted? expected one of "
            f"{first_few(sorted(LABEL_ALIASES), 4)}" + (f"; {len(wrong)} such lines" if len(wrong) > 1 else "")
        )
    return rows.with_columns(labels.alias("label"))


def blank_to_null(rows: pl.DataFrame, *columns: str) -> pl.DataFrame:
    """The rows with `-` and empty text as empty cells in the given columns."""
    return rows.with_columns(
        pl.when(pl.col(name).is_in(["-", ""])).then(None).otherwise(pl.col(name)).alias(name) for name in columns
    )
