"""LJSpeech 1.1: one reader, 13,100 clips; bona fide only."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import read_fields

LAYOUT = Layout(
    "the folder LJSpeech-1.1, with metadata.csv and wavs/",
    ((Marker("metadata.csv", r"^LJ\d{3}-\d{4}\|"), Marker("wavs")),),
)

PUBLISHED = (Published({}, bonafide=13_100),)

EXAMPLE = Example(
    files={
        "metadata.csv": 'LJ001-0001|"Printing", in the only sense|"Printing", in the only sense\n'
        'LJ001-0002|in being "comparatively modern.|in being "comparatively modern.\n'
    },
    audio=("wavs/LJ001-0001.wav", "wavs/LJ001-0002.wav"),
    trials={
        "LJ001-0001": {"label": "bonafide", "speaker_id": "LJ", "text_id": "LJ001-0001", "language": "en"},
        "LJ001-0002": {"label": "bonafide", "path": "wavs/LJ001-0002.wav"},
    },
)


@CORPORA.register("ljspeech", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """Every line of `metadata.csv`, which has pipes, no header and no quoting."""
    corpus = open_corpus("ljspeech", LAYOUT, root)
    folder = corpus.root
    rows = read_fields(folder / "metadata.csv", ("utterance_id", "transcript", "_"), separator="|")
    trials = rows.with_columns(
        (pl.lit("wavs/") + pl.col("utterance_id")).alias("file"),
        pl.lit("bonafide").alias("label"),
        pl.lit("LJ").alias("speaker_id"),
        pl.col("utterance_id").alias("text_id"),
        pl.lit("en").alias("language"),
    )
    return corpus.reading(corpus.assemble(trials, split, ending=".wav"))
