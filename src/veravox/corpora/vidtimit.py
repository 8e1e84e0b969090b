"""VidTIMIT: 43 people reading TIMIT sentences on video; bona fide only, the companion of TIMIT-TTS."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading

LAYOUT = Layout("a folder with <speaker>/audio/*.wav", ((Marker("[fm]???[0-9]/audio"),),))

PUBLISHED = (Published({}, bonafide=430),)

EXAMPLE = Example(
    audio=("fadg0/audio/sa1.wav", "mabw0/audio/sa1.wav"),
    trials={
        "fadg0/audio/sa1": {"label": "bonafide", "speaker_id": "fadg0", "language": "en", "text_id": "sa1"},
        "mabw0/audio/sa1": {"speaker_id": "mabw0"},
    },
)


@CORPORA.register("vidtimit", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """Every sound file of every speaker; `sa1` and `sa2` are the same sentences for all."""
    corpus = open_corpus("vidtimit", LAYOUT, root)
    rows = corpus.matched(r"^(?P<speaker_id>[^/]+)/audio/(?P<text_id>[^/]+)$")
    trials = rows.with_columns(pl.lit("bonafide").alias("label"), pl.lit("en").alias("language"))
    return corpus.reading(corpus.assemble(trials, split))
