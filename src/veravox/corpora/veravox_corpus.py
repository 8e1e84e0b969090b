"""This project's own corpus and its bundled miniature: a folder with its `protocol.csv`."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import blank_to_null, read_headed, with_labels

LAYOUT = Layout(
    "a folder with protocol.csv, whose first column is utterance_id, and the audio that it names",
    ((Marker("protocol.csv", r"^utterance_id,"),),),
)

PUBLISHED: tuple[Published, ...] = ()

RENAMED = {"source": "source_id", "codec_history": "codec"}

EXAMPLE = Example(
    files={
        "protocol.csv": (
            "utterance_id,path,label,attack_id,domain,speaker_id,language,text_id,source,codec_history,duration_s,"
            "split,licence,pair_of\n"
            "u0564586772,dev/spoof/lyra-6000/u0564586772.flac,spoof,lyra-6000,neural-vocoder,ff-nl-big,nl,da2a659894,"
            "lyra-6000:6000bps,vorbis-q5,1.448,dev,Apache-2.0; source clip GPL-2,u73f7bc555c\n"
            "u73f7bc555c,dev/bonafide/fillets-nl/u73f7bc555c.flac,bonafide,-,neural-vocoder,ff-nl-big,nl,da2a659894,"
            'fillets-nl,"vorbis (as received, presumed)",1.448,dev,GPL-2,\n'
        )
    },
    audio=("dev/spoof/lyra-6000/u0564586772.flac", "dev/bonafide/fillets-nl/u73f7bc555c.flac"),
    trials={
        "u0564586772": {
            "label": "spoof",
            "attack_id": "lyra-6000",
            "domain": "neural-vocoder",
            "source_id": "lyra-6000:6000bps",
            "pair_of": "u73f7bc555c",
            "duration_s": 1.448,
        },
        "u73f7bc555c": {"label": "bonafide", "attack_id": None, "codec": "vorbis (as received, presumed)"},
    },
)


@CORPORA.register("veravox_corpus", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """Every row of `protocol.csv`; `source` and `codec_history` get this project's column names."""
    corpus = open_corpus("veravox_corpus", LAYOUT, root)
    folder = corpus.root
    key = folder / "protocol.csv"
    rows = with_labels(read_headed(key, ("utterance_id", "path", "label")), key)
    rows = rows.rename(
        {old: new for old, new in RENAMED.items() if old in rows.columns and new not in rows.columns}
    )
    if "attack_id" in rows.columns:
        rows = blank_to_null(rows, "attack_id")
    if "duration_s" in rows.columns:
        rows = rows.with_columns(pl.col("duration_s").cast(pl.Float64, strict=False))
    trials = rows.with_columns(pl.col("path").str.replace(r"\.[^./]*$", "").alias("file")).drop("path")
    return corpus.reading(corpus.assemble(trials, split))
