"""Codecfake (Xie et al.): speech re-synthesised by seven neural codecs, and by audio language models."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, assemble, matched
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.rows import read_fields, with_labels
from veravox.tables import BONA_FIDE, SPOOF, Protocol

LAYOUT = Layout(
    "a folder with train/, dev/, C1/ to C7/ (and A1/ to A3/) of F01_*.wav, and bona fide without that prefix",
    ((Marker("C[1-7]/F0[1-9]_*"),), (Marker("label/*.txt"), Marker("train")), (Marker("train/F0[1-9]_*"),)),
    guess="that a file beginning F01_ to F07_ is spoof by that codec, and every other bona fide, wherever "
    "label/<folder>.txt is not there to say it",
)

PUBLISHED = (
    Published({}, trials=1_058_216),
    Published({"split": "train"}, trials=740_747),
)

FOLDERS = r"^(?P<folder>train|dev|C[1-7]|A[1-3])/(?P<name>(?:(?P<attack_id>[FL]\d\d)_)?[^/]+)$"

EXAMPLE = Example(
    files={"label/A1.txt": "L01_000001.wav fake\n000001.wav real\n"},
    audio=(
        "C1/F01_SSB00050001.wav",
        "C1/SSB00050001.wav",
        "C7/F07_p225_001.wav",
        "train/F03_p226_004.wav",
        "dev/p227_001.wav",
        "A1/L01_000001.wav",
        "A1/000001.wav",
    ),
    trials={
        "C1/F01_SSB00050001": {"label": "spoof", "attack_id": "F01", "split": "eval"},
        "C1/SSB00050001": {"label": "bonafide", "attack_id": None, "text_id": "SSB00050001"},
        "C7/F07_p225_001": {"label": "spoof", "attack_id": "F07", "text_id": "p225_001", "speaker_id": "p225"},
        "train/F03_p226_004": {"label": "spoof", "split": "train", "speaker_id": "p226"},
        "dev/p227_001": {"label": "bonafide", "split": "dev"},
        "A1/L01_000001": {"label": "spoof", "split": "eval", "condition": "A1"},
        "A1/000001": {"label": "bonafide"},
    },
)


@CORPORA.register("codecfake")
def protocol(root: PathLike, split: str | None = None) -> Protocol:
    """Every file of the folders; the label files decide where they are there, the names elsewhere.

    Source:
        Xie et al., The Codecfake dataset and countermeasures, TASLP 2025.
    """
    folder = LAYOUT.locate(root, "codecfake")
    rows = matched("codecfake", folder, FOLDERS)
    by_name = pl.when(pl.col("attack_id").is_null()).then(pl.lit(BONA_FIDE)).otherwise(pl.lit(SPOOF))
    rows = rows.with_columns(
        by_name.alias("label"), pl.col("name").str.replace(r"^[FL]\d\d_", "").alias("text_id")
    )
    rows = _with_label_files(folder, rows)
    trials = rows.with_columns(
        pl.col("folder").replace_strict({"train": "train", "dev": "dev"}, default="eval").alias("split"),
        pl.col("folder").alias("condition"),
        pl.col("text_id").str.extract(r"^(p\d{3}|SSB\d{4})").alias("speaker_id"),
        pl.when(pl.col("label") == SPOOF).then("attack_id").alias("attack_id"),
    ).drop("folder", "name")
    return assemble("codecfake", LAYOUT, folder, trials, split)


def _with_label_files(folder: Path, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the labels of `label/<folder>.txt` (`file label ...`) in place of those guessed by name."""
    parts = []
    for key in sorted((folder / "label").glob("*.txt")):
        if key.name.startswith("."):
            continue
        listed = with_labels(read_fields(key, ("file", "label"), more=True), key)
        stem = pl.col("file").str.replace(r"\.[^./]*$", "")
        parts.append(
            listed.select((pl.lit(f"{key.stem}/") + stem).alias("utterance_id"), pl.col("label").alias("said"))
        )
    if not parts:
        return rows
    said = pl.concat(parts).unique("utterance_id", keep="first", maintain_order=True)
    rows = rows.join(said, on="utterance_id", how="left", maintain_order="left")
    return rows.with_columns(pl.coalesce("said", "label").alias("label")).drop("said")
