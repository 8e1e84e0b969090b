"""Score files and keys of others: columns found or named, the sign always stated, never guessed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import polars as pl

from veravox.errors import EvaluationError, first_few
from veravox.evaluation.tandem import AsvScores
from veravox.tables import LABEL_ALIASES, WRITTEN_ID, Protocol, Scores, readable

Polarity = Literal["higher-is-bonafide", "higher-is-spoof"]
POLARITIES = ("higher-is-bonafide", "higher-is-spoof")

ID_NAMES = ("utterance_id", "utt_id", "utt", "file", "filename", "file_name", "id", "trial", "trial_id", "name")
LABEL_NAMES = ("label", "key", "cm-label", "cm_label")
SCORE_NAMES = ("score", "scores", "cm-score", "cm_score", "llr", "logit", "prediction")

# Columns of the published keys: {number of columns: (name of the release, meaning of each column)}.
KEY_LAYOUTS: dict[int, tuple[str, tuple[str, ...]]] = {
    2: ("id and label", ("utterance_id", "label")),
    5: ("ASVspoof 2019", ("speaker_id", "utterance_id", "environment", "attack_id", "label")),
    8: (
        "ASVspoof 2021 LA",
        ("speaker_id", "utterance_id", "codec", "transmission", "attack_id", "label", "trim", "split"),
    ),
    10: (
        "ASVspoof 5",
        (
            "speaker_id",
            "utterance_id",
            "gender",
            "codec",
            "codec_quality",
            "codec_seed",
            "attack_tag",
            "attack_id",
            "label",
            "unused",
        ),
    ),
    12: (
        "ASVspoof 2021 PA",
        ("speaker_id", "utterance_id", "R", "M", "d", "r", "m", "s", "c", "label", "trim", "split"),
    ),
    13: (
        "ASVspoof 2021 DF",
        (
            *(
                "speaker_id",
                "utterance_id",
                "codec",
                "source_id",
                "attack_id",
                "label",
                "trim",
                "split",
                "vocoder",
            ),
            *("unused_1", "unused_2", "unused_3", "unused_4"),
        ),
    ),
}
AUDIO_ENDING = r"\.(wav|flac|mp3|m4a|ogg|opus|aac|webm)$"


def _rows(path: str | os.PathLike[str]) -> pl.DataFrame:
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


def _is_numeric(column: pl.Series) -> bool:
    """Whether most cells are numbers; the few that are not will be named as errors."""
    return len(column) > 0 and column.cast(pl.Float64, strict=False).null_count() * 2 < len(column)


def _with_header(frame: pl.DataFrame) -> pl.DataFrame:
    """Take the first line as names, if it has no number above a column of numbers, and one of the known names."""
    first = [str(cell).lower() for cell in frame.row(0)]
    if not set(first) & {*ID_NAMES, *SCORE_NAMES, "label", "key", "speaker", "path"} or len(set(first)) < len(
        first
    ):
        return frame
    return frame.slice(1).rename(dict(zip(frame.columns, frame.row(0), strict=True)))


def _table(path: str | os.PathLike[str]) -> pl.DataFrame:
    if Path(path).suffix.lower() != ".parquet":
        return _with_header(_rows(path))
    try:
        return pl.read_parquet(readable(Path(path)), glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise EvaluationError(f"{str(path)!r} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


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


def is_own(path: str | os.PathLike[str]) -> bool:
    """Whether a file has the form that `veravox score` writes, in which higher is always more bona fide."""
    file = Path(path)
    if file.suffix.lower() == ".jsonl":
        return True
    return {"utterance_id", "score"} <= set(_names(file))


def _names(file: Path) -> list[str]:
    """The names of the columns of a CSV or Parquet file, as far as its first line tells; nothing for others."""
    if file.suffix.lower() not in (".csv", ".parquet") or not file.is_file():
        return []
    try:
        if file.suffix.lower() == ".parquet":
            with file.open("rb") as source:  # a path would be taken for a pattern
                return list(pl.read_parquet_schema(source))
        with file.open(encoding="utf-8-sig") as lines:
            return [cell.strip().strip('"') for cell in lines.readline().split(",")]
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError):
        return []


def read_foreign_scores(
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
    labels = [name for name in frame.columns if name not in (ids, score) and _is_label(frame[name])]
    if labels:
        kept["label_in_scores"] = frame[labels[0]]
    return Scores(pl.DataFrame(kept), name=str(path))


def _is_label(column: pl.Series) -> bool:
    return set(column.cast(pl.String).str.to_lowercase().unique().drop_nulls()) <= set(LABEL_ALIASES)


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
        return read_foreign_scores(path, polarity, id_column, score_column)
    return Scores.read(path)


def read_key(path: str | os.PathLike[str]) -> Protocol:
    """The labels of a test set: a protocol, or a key as ASVspoof 2019, 2021, 5 or In-the-Wild release it.

    Where the release tells them, `attack_id`, `speaker_id`, `codec` and the phase (as `split`) come along.

    Raises:
        EvaluationError: if the columns are of no known release.
        ProtocolError: for doubled ids or unknown labels.
    """
    if Path(path).suffix.lower() == ".parquet" or "utterance_id" in _names(Path(path)):
        return Protocol.read(path)
    frame = _rows(path)
    first = [str(cell).lower() for cell in frame.row(0)]
    if set(first) & set(ID_NAMES) and {*LABEL_NAMES} & set(first):
        return _named_key(frame, first, path)
    layout = KEY_LAYOUTS.get(frame.width)
    if layout is None:
        known = ", ".join(f"{width} ({name})" for width, (name, _) in KEY_LAYOUTS.items())
        raise EvaluationError(
            f"{str(path)!r} has {frame.width} columns and no line of names; known keys have {known}; write "
            "a CSV with the columns utterance_id and label"
        )
    name, columns = layout
    frame.columns = list(columns)
    if not _is_label(frame["label"]):
        raise EvaluationError(
            f"{str(path)!r} has {frame.width} columns as {name} has, but column {columns.index('label') + 1} "
            "does not hold labels; write a CSV with the columns utterance_id and label"
        )
    return Protocol(_without_dashes(frame), name=str(path))


def _named_key(frame: pl.DataFrame, first: list[str], path: str | os.PathLike[str]) -> Protocol:
    """A key with a line of names, such as In-the-Wild's `file,speaker,label`, or those of ASVspoof 5's package.

    There, track 2 names a file once for every claimed speaker, with its `asv-label`: one trial here.
    """
    renamed = {
        "speaker": "speaker_id",
        "attack": "attack_id",
        "asv-label": "asv_label",
        "spk": "claimed_speaker_id",
    }
    renamed |= dict.fromkeys(LABEL_NAMES, "label")
    id_name = next(name for name in ID_NAMES if name in first)
    names = ["utterance_id" if name == id_name else renamed.get(name, name) for name in first]
    if len(set(names)) < len(names):
        raise EvaluationError(f"{str(path)!r} names a column twice: {first_few(first, 9)}")
    frame = frame.slice(1)
    frame.columns = names
    frame = frame.with_columns(pl.col("utterance_id").str.replace(AUDIO_ENDING, ""))
    claims = {"claimed_speaker_id", "asv_label"}
    if claims <= set(names) and frame["utterance_id"].is_duplicated().any():
        frame = frame.drop(claims).unique(maintain_order=True)
    return Protocol(_without_dashes(frame), name=str(path))


def _without_dashes(frame: pl.DataFrame) -> pl.DataFrame:
    """Empty cells for what the releases write as `-`, and for the `bonafide` in the place of an attack."""
    frame = frame.with_columns(pl.all().replace({"-": None, "": None}))
    if "attack_id" in frame.columns:
        frame = frame.with_columns(
            pl.when(pl.col("attack_id").str.to_lowercase().is_in(list(LABEL_ALIASES)))
            .then(None)
            .otherwise(pl.col("attack_id"))
            .alias("attack_id")
        )
    return frame


def read_asv_scores(path: str | os.PathLike[str]) -> AsvScores:
    """Scores of a speaker verification system: a line a trial, with `target`, `nontarget` or `spoof`, score last.

    The files of ASVspoof 2019 (`bonafide target 7.98`) and 2021 (nine columns) have this form.

    Raises:
        EvaluationError: if no column tells the kind of trial, or a score is not a finite number.
    """
    frame = _rows(path)
    kinds = {"target", "nontarget", "spoof"}
    found = [name for name in frame.columns[:-1] if set(frame[name].unique()) <= kinds]
    if not found:
        raise EvaluationError(f"{str(path)!r}: no column holds only 'target', 'nontarget' and 'spoof'")
    scores = frame[frame.columns[-1]].cast(pl.Float64, strict=False)
    broken = (scores.is_null() | ~scores.is_finite().fill_null(False)).arg_true()
    if len(broken):
        raise EvaluationError(
            f"{str(path)!r}: lines {first_few((broken + 1).to_list())} do not end in a finite number"
        )
    by_kind = {kind: scores.filter(frame[found[0]] == kind).to_numpy() for kind in sorted(kinds)}
    missing = [kind for kind, values in by_kind.items() if not len(values)]
    if missing:
        raise EvaluationError(f"{str(path)!r} has no {first_few(missing)} trials")
    return AsvScores(by_kind["target"], by_kind["nontarget"], by_kind["spoof"])
