"""In-the-Wild: public figures, real recordings and deepfakes found on the web."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import read_headed, with_labels

LAYOUT = Layout(
    "the folder release_in_the_wild, with meta.csv and 0.wav to 31778.wav",
    ((Marker("meta.csv", r"^\W?file\W+speaker\W+label"),),),
)

PUBLISHED = (Published({}, bonafide=19_963, spoof=11_816),)

EXAMPLE = Example(
    files={
        "meta.csv": "file,speaker,label\n0.wav,Alec Guinness,spoof\n1.wav,Alec Guinness,spoof\n"
        "2.wav,Barack Obama,spoof\n4.wav,Christopher Hitchens,bona-fide\n"
    },
    audio=("0.wav", "1.wav", "2.wav", "4.wav"),
    trials={
        "0": {"label": "spoof", "speaker_id": "Alec Guinness", "path": "0.wav", "language": "en"},
        "1": {"label": "spoof"},
        "2": {"label": "spoof", "speaker_id": "Barack Obama"},
        "4": {"label": "bonafide", "speaker_id": "Christopher Hitchens"},
    },
)


@CORPORA.register("in_the_wild", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """Every clip of `meta.csv`; there are no published splits.

    Source:
        Müller et al., Does audio deepfake detection generalize?, Interspeech 2022.
    """
    corpus = open_corpus("in_the_wild", LAYOUT, root)
    folder = corpus.root
    key = folder / "meta.csv"
    rows = with_labels(read_headed(key, ("file", "speaker", "label")), key)
    stem = pl.col("file").str.replace(r"\.[^./]*$", "")
    trials = rows.select(
        stem.alias("utterance_id"),
        stem.alias("file"),
        "label",
        pl.col("speaker").alias("speaker_id"),
        pl.lit("en").alias("language"),
    )
    return corpus.reading(corpus.assemble(trials, split, ending=".wav"))
