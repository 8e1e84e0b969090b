"""Keys of published test sets: labels, attacks, speakers and phases as their releases write them."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from veravox.errors import EvaluationError, first_few
from veravox.tables.labels import LABEL_ALIASES
from veravox.tables.protocol import Protocol
from veravox.tables.text_rows import read_rows

ID_NAMES = ("utterance_id", "utt_id", "utt", "file", "filename", "file_name", "id", "trial", "trial_id", "name")
LABEL_NAMES = ("label", "key", "cm-label", "cm_label")

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


def read_key(path: str | os.PathLike[str]) -> Protocol:
    """The labels of a test set: a protocol, or a key as ASVspoof 2019, 2021, 5 or In-the-Wild release it.

    Where the release tells them, `attack_id`, `speaker_id`, `codec` and the phase (as `split`) come along.

    Raises:
        EvaluationError: if the columns are of no known release.
        ProtocolError: for doubled ids or unknown labels.
    """
    if Path(path).suffix.lower() == ".parquet" or "utterance_id" in column_names(Path(path)):
        return Protocol.read(path)
    frame = read_rows(path)
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
    if not is_label(frame["label"]):
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


def is_label(column: pl.Series) -> bool:
    """Whether every cell is empty or a known spelling of a label."""
    return set(column.cast(pl.String).str.to_lowercase().unique().drop_nulls()) <= set(LABEL_ALIASES)


def column_names(file: Path) -> list[str]:
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
