"""Any CSV (or TSV, or pipe-separated) file, by the names of its columns."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import SPLIT_NAMES, CorpusFolder, PathLike
from veravox.corpora.reading.layout import Layout, existing, first_line
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import LINE, read_headed, with_labels
from veravox.errors import CorpusError, suggest
from veravox.tables import BONA_FIDE, PROTOCOL_COLUMNS, SPOOF

SUFFIXES = (".csv", ".tsv", ".txt", ".psv")


def _recognise(root: Path) -> str | None:
    if root.is_file() and root.suffix.lower() in SUFFIXES:
        return f"its first line, {(first_line(root) or '')[:60]!r}"
    return None


LAYOUT = Layout("a .csv, .tsv or .txt file with a header", test=_recognise, rank=0)

PUBLISHED: tuple[Published, ...] = ()

LIKELY = {
    "path": (
        "path",
        "file",
        "filename",
        "file_name",
        "filepath",
        "file_path",
        "audio",
        "audio_path",
        "wav",
        "wav_path",
    ),
    "label": ("label", "key", "class", "target"),
    "utterance_id": ("utterance_id", "utterance", "utt", "utt_id", "id"),
    "speaker_id": ("speaker_id", "speaker", "spk", "spk_id"),
    "attack_id": ("attack_id", "attack", "system", "generator", "model"),
    "split": ("split", "set", "subset", "partition"),
}
"""Column names that are taken for one of ours where nothing is said."""

EXAMPLE = Example(
    files={
        "lists/all.tsv": "filename\ttarget\tspeaker\tmood\nclips/007.wav\t1\ts1\tcalm\nclips/b.mp3\t0\ts2\t\n",
    },
    audio=("clips/007.wav", "clips/b.mp3"),
    root="lists/all.tsv",
    options={"audio_root": "..", "bona_fide": "1", "spoof": "0"},
    trials={
        "clips/007": {"label": "bonafide", "speaker_id": "s1", "mood": "calm", "domain": "table"},
        "clips/b": {"label": "spoof", "mood": None},
    },
)


@CORPORA.register("table", LAYOUT, PUBLISHED, EXAMPLE)
def read(
    root: PathLike,
    split: str | None = None,
    path: str | None = None,
    label: str | None = None,
    utterance_id: str | None = None,
    speaker_id: str | None = None,
    attack_id: str | None = None,
    columns: dict[str, str] | None = None,
    bona_fide: str | None = None,
    spoof: str | None = None,
    audio_root: str | None = None,
    separator: str | None = None,
    domain: str = "table",
) -> Reading:
    """Every row of a file with a header; columns that are not named here pass through.

    Args:
        root: the file.
        path: its column of audio files; by default the first likely name that is there.
        label: its column of labels.
        utterance_id: its column of ids; the path without its ending if there is none.
        speaker_id: its column of speakers.
        attack_id: its column of attacks or generators.
        columns: further columns, as our name to its.
        bona_fide: which value of `label` is bona fide, where it is no known word; 0 and 1 are never guessed.
        spoof: which value is spoof.
        audio_root: folder that paths start from, relative to the file's; the file's own if None.
        separator: between columns; seen from the first line if None.
        domain: what the trials' domain is called, where the file has no such column.
    """
    file = existing(root)
    if not file.is_file():
        raise CorpusError(f"{str(file)!r} is a folder; table reads {LAYOUT.expects}")
    rows = read_headed(file, (), separator or _separator(file))
    named = {"path": path, "label": label, "utterance_id": utterance_id, "speaker_id": speaker_id}
    rows = _renamed(rows, {**named, "attack_id": attack_id, **(columns or {})}, file)
    rows = with_labels(_own_labels(_with_paths(rows, file), bona_fide, spoof), file)
    folder = Path(os.path.normpath(file.parent / audio_root)) if audio_root else file.parent
    stem = pl.col("path").str.replace(r"^\./", "").str.replace(r"\.[^./]*$", "")
    rows = rows.with_columns(stem.alias("file"))
    if "utterance_id" not in rows.columns:
        rows = rows.with_columns(pl.col("file").alias("utterance_id"))
    if "domain" not in rows.columns:
        rows = rows.with_columns(pl.lit(domain).alias("domain"))
    if "split" in rows.columns:
        rows = rows.with_columns(pl.col("split").str.to_lowercase().replace(SPLIT_NAMES))
    corpus = CorpusFolder("table", LAYOUT, folder)
    return corpus.reading(corpus.assemble(rows.drop("path"), split, ending=Path(str(rows["path"][0])).suffix))


def _separator(file: Path) -> str:
    line = first_line(file) or ""
    return max(("\t", "|", ";", ","), key=line.count)


def _renamed(rows: pl.DataFrame, named: dict[str, str | None], file: Path) -> pl.DataFrame:
    """The rows with this project's column names: as told, else by the likely ones."""
    there = [name for name in rows.columns if name != LINE]
    taken: dict[str, str] = {}
    for ours, theirs in named.items():
        if theirs is not None and ours not in PROTOCOL_COLUMNS:
            raise CorpusError(f"table: {ours!r} is no column of a protocol; {suggest(ours, PROTOCOL_COLUMNS)}")
        if theirs is not None and theirs not in there:
            raise CorpusError(f"{str(file)!r} has no column {theirs!r}; {suggest(theirs, there)}")
        likely = next((name for name in LIKELY.get(ours, (ours,)) if name in there), None)
        if theirs or likely:
            taken[theirs or str(likely)] = ours
    for ours, names in LIKELY.items():
        if ours not in taken.values():
            likely = next((name for name in names if name in there and name not in taken), None)
            if likely:
                taken[likely] = ours
    for ours in ("path", "label"):
        if ours not in taken.values():
            message = f"{str(file)!r}: which column is the {ours}? found: {', '.join(there)}; say {ours}=NAME"
            raise CorpusError(message)
    clash = [name for name in taken.values() if name in there and name not in taken]
    return rows.drop(clash).rename(taken)


def _with_paths(rows: pl.DataFrame, file: Path) -> pl.DataFrame:
    """The rows, if each has a path; those of a list that was written on Windows with slashes."""
    if not len(rows):
        raise CorpusError(f"{str(file)!r} has a header and no rows")
    paths = rows["path"].str.strip_chars()
    empty = rows.filter(paths.is_null() | (paths == ""))
    if len(empty):
        more = f"; {len(empty)} such lines" if len(empty) > 1 else ""
        raise CorpusError(f"{str(file)!r}, line {empty[LINE][0]}: the path is missing{more}")
    if paths.str.contains("\\", literal=True).any() and not paths.str.contains("/", literal=True).any():
        paths = paths.str.replace_all("\\", "/", literal=True)
    return rows.with_columns(paths)


def _own_labels(rows: pl.DataFrame, bona_fide: str | None, spoof: str | None) -> pl.DataFrame:
    known = {str(value): word for value, word in ((bona_fide, BONA_FIDE), (spoof, SPOOF)) if value is not None}
    values = rows["label"].drop_nulls().unique()
    if not known and values.is_in(["0", "1"]).all() and len(values):
        raise CorpusError(
            "table: the labels are 0 and 1, whose meaning differs; say bona_fide=1 and spoof=0, or so"
        )
    return rows.with_columns(pl.col("label").replace(known)) if known else rows
