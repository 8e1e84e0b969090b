"""Score files of other tools: columns found or named, the sign always stated, never guessed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import polars as pl

from veravox.errors import EvaluationError, first_few
from veravox.tables.files import readable
from veravox.tables.keys import AUDIO_ENDING, ID_NAMES, column_names, is_label
from veravox.tables.scores import WRITTEN_ID, Scores
from veravox.tables.text_rows import read_rows

Polarity = Literal["higher-is-bonafide", "higher-is-spoof"]
POLARITIES = ("higher-is-bonafide", "higher-is-spoof")
SCORE_NAMES = ("score", "scores", "cm-score", "cm_score", "llr", "logit", "prediction")


def read_external_scores(
    path: str | os.PathLike[str],
    polarity: str | None,
    id_column: str | int | None = None,
    score_column: str | int | None = None,
) -> Scores:
    """Scores from a text file of two or more columns, CSV or Parquet, with or without names of columns.

    Args:
        path: the file.
        polarity: `higher-is-bonafide` or `higher-is-spoof`; never guessed.
        id_column: name, or number from 1; if None, the named one, or the text column that varies most.
        score_column: the same for the score; if None, the named one, or the only column of numbers.
    Raises:
        EvaluationError: without a polarity, or if the columns cannot be told.
        ScoringError: for a doubled trial or a score that is not finite.
    """
    if polarity not in POLARITIES:
        raise EvaluationError(
            f"{str(path)!r} is not a score file of veravox, so its sign is unknown: say "
            "--polarity higher-is-bonafide or --polarity higher-is-spoof"
        )
    frame = _table(path)
    if frame.width < 2:
        raise EvaluationError(
            f"{str(path)!r} has a single column; a score file needs an id and a score in each line"
        )
    ids = _pick(frame, id_column, path) if id_column is not None else _find_id(frame)
    score = _pick(frame, score_column, path) if score_column is not None else _find_score(frame, ids, path)
    numbers = frame[score].cast(pl.Float64, strict=False)
    broken = frame[ids].filter(numbers.is_null())
    if len(broken):
        raise EvaluationError(f"{str(path)!r}: the scores of {first_few(broken)} are not numbers")
    sign = 1.0 if polarity == "higher-is-bonafide" else -1.0
    written = frame[ids].cast(pl.String)
    kept = {"utterance_id": written.str.replace(AUDIO_ENDING, ""), "score": sign * numbers}
    if written.str.contains(AUDIO_ENDING).any():
        kept[WRITTEN_ID] = written
    labels = [name for name in frame.columns if name not in (ids, score) and is_label(frame[name])]
    if labels:
        kept["label_in_scores"] = frame[labels[0]]
    return Scores(pl.DataFrame(kept), name=str(path))


def read_scores(
    path: str | os.PathLike[str],
    polarity: str | None = None,
    id_column: str | int | None = None,
    score_column: str | int | None = None,
) -> Scores:
    """Scores from any file: as veravox writes them, or a foreign one with its polarity stated.

    Raises:
        EvaluationError: for a foreign file without a polarity, or whose columns cannot be told.
        ScoringError: for a doubled trial or a score that is not finite.
    """
    if not Path(path).is_file():
        raise EvaluationError(f"{str(path)!r} does not exist or is not a file")
    if not is_own(path) or polarity or id_column is not None or score_column is not None:
        return read_external_scores(path, polarity, id_column, score_column)
    return Scores.read(path)


def is_own(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the form that `veravox score` writes, in which higher is always more bona fide."""
    file = Path(path)
    if file.suffix.lower() == ".jsonl":
        return True
    return {"utterance_id", "score"} <= set(column_names(file))


def _table(path: str | os.PathLike[str]) -> pl.DataFrame:
    if Path(path).suffix.lower() != ".parquet":
        return _with_header(read_rows(path))
    try:
        return pl.read_parquet(readable(Path(path)), glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise EvaluationError(f"{str(path)!r} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _with_header(frame: pl.DataFrame) -> pl.DataFrame:
    """Take the first line as names, if it has no number above a column of numbers, and one of the known names."""
    first = [str(cell).lower() for cell in frame.row(0)]
    if not set(first) & {*ID_NAMES, *SCORE_NAMES, "label", "key", "speaker", "path"} or len(set(first)) < len(
        first
    ):
        return frame
    return frame.slice(1).rename(dict(zip(frame.columns, frame.row(0), strict=True)))


def _pick(frame: pl.DataFrame, wanted: str | int, path: str | os.PathLike[str]) -> str:
    """The column that was asked for: its name, or its number from 1."""
    if str(wanted) in frame.columns:
        return str(wanted)
    if str(wanted).isdigit() and 1 <= int(wanted) <= frame.width:
        return frame.columns[int(wanted) - 1]
    raise EvaluationError(
        f"{str(path)!r} has no column {wanted!r}; give a number from 1 to {frame.width}, or one of: "
        + first_few(frame.columns, 9)
    )


def _find_id(frame: pl.DataFrame) -> str:
    named = [name for name in frame.columns if name.lower() in ID_NAMES]
    if named:
        return named[0]
    text = [name for name in frame.columns if not _is_numeric(frame[name])]
    return max(text, key=lambda name: frame[name].n_unique()) if text else frame.columns[0]


def _find_score(frame: pl.DataFrame, id_column: str, path: str | os.PathLike[str]) -> str:
    named = [name for name in frame.columns if name.lower() in SCORE_NAMES]
    numeric = [name for name in frame.columns if name != id_column and _is_numeric(frame[name])]
    if len(named) == 1:
        return named[0]
    if len(numeric) == 1:
        return numeric[0]
    which = f"{len(numeric)} columns of numbers ({first_few(numeric, 9)})" if numeric else "no column of numbers"
    raise EvaluationError(
        f"{str(path)!r} has {which}; say which holds the score with --score-column NAME or NUMBER"
    )


def _is_numeric(column: pl.Series) -> bool:
    """Whether most cells are numbers; the few that are not will be named as errors."""
    return len(column) > 0 and column.cast(pl.Float64, strict=False).null_count() * 2 < len(column)
