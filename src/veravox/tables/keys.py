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

KEY_COLUMNS: dict[str, tuple[str, ...]] = {
    "asvspoof2019_la": ("speaker_id", "utterance_id", "_", "attack_id", "label"),
    "asvspoof2019_pa": ("speaker_id", "utterance_id", "environment_id", "attack_id", "label"),
    "asvspoof2021_la": (
        "speaker_id", "utterance_id", "codec", "transmission", "attack_id", "label", "trim", "phase",
    ),
    "asvspoof2021_df": (
        "speaker_id", "utterance_id", "codec", "source_id", "attack_id", "label", "trim", "phase", "vocoder",
    ),
    "asvspoof2021_pa": (
        "speaker_id", "utterance_id", "room", "microphone", "talker_distance", "attacker_room",
        "attacker_microphone", "loudspeaker", "attacker_distance", "label", "trim", "phase",
    ),
    "asvspoof5": (
        "speaker_id", "utterance_id", "gender", "codec", "codec_quality", "codec_seed", "attack_tag", "attack_id",
        "label", "_",
    ),
}  # fmt: skip
"""Columns of the keys of each release, which have no line of names; those that begin with `_` hold nothing."""

KEY_LAYOUTS: dict[int, tuple[str, tuple[str, ...]]] = {
    2: ("id and label", ("utterance_id", "label")),
    5: ("ASVspoof 2019", KEY_COLUMNS["asvspoof2019_pa"]),
    8: ("ASVspoof 2021 LA", KEY_COLUMNS["asvspoof2021_la"]),
    10: ("ASVspoof 5", KEY_COLUMNS["asvspoof5"]),
    12: ("ASVspoof 2021 PA", KEY_COLUMNS["asvspoof2021_pa"]),
    13: ("ASVspoof 2021 DF", (*KEY_COLUMNS["asvspoof2021_df"], "_1", "_2", "_3", "_4")),
}
"""By the number of columns: name of the release, and its columns."""

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
    frame = frame.select(pl.exclude("^_.*$")).rename({"phase": "split"}, strict=False)
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
