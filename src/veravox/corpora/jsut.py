"""JSUT, the part basic5000: one Japanese reader; bona fide only, a companion of WaveFake."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading

LAYOUT = Layout("the folder jsut_ver1.1, with basic5000/wav/*.wav", ((Marker("basic5000/wav"),),))

PUBLISHED = (Published({}, bonafide=5_000),)

EXAMPLE = Example(
    audio=("basic5000/wav/BASIC5000_0001.wav", "basic5000/wav/BASIC5000_0002.wav"),
    trials={
        "BASIC5000_0001": {
            "label": "bonafide",
            "speaker_id": "JSUT",
            "language": "ja",
            "text_id": "BASIC5000_0001",
        },
        "BASIC5000_0002": {"label": "bonafide"},
    },
)


@CORPORA.register("jsut", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """Every recording of basic5000."""
    corpus = open_corpus("jsut", LAYOUT, root)
    rows = corpus.matched(r"^basic5000/wav/(?P<text_id>[^/]+)$", ("basic5000",))
    trials = rows.with_columns(
        pl.col("text_id").alias("utterance_id"),
        pl.lit("bonafide").alias("label"),
        pl.lit("JSUT").alias("speaker_id"),
        pl.lit("ja").alias("language"),
    )
    return corpus.reading(corpus.assemble(trials, split))
