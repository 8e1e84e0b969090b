"""VCTK 0.92: 110 English speakers, two microphones; bona fide only."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.errors import CorpusError

LAYOUT = Layout(
    "the folder VCTK-Corpus-0.92, with wav48_silence_trimmed/<speaker>/<speaker>_<utterance>_mic{1,2}.flac",
    ((Marker("wav48_silence_trimmed"),),),
)

PUBLISHED = (
    Published({"microphone": "mic1"}, bonafide=44_455),
    Published({"microphone": "mic2"}, bonafide=43_873),
)

EXAMPLE = Example(
    audio=(
        "wav48_silence_trimmed/p225/p225_001_mic1.flac",
        "wav48_silence_trimmed/p225/p225_001_mic2.flac",
        "wav48_silence_trimmed/s5/s5_001_mic1.flac",
    ),
    options={"microphone": "both"},
    trials={
        "p225_001_mic1": {"label": "bonafide", "speaker_id": "p225", "microphone": "mic1", "text_id": "p225_001"},
        "p225_001_mic2": {"microphone": "mic2", "language": "en"},
        "s5_001_mic1": {"speaker_id": "s5"},
    },
)


@CORPORA.register("vctk", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None, microphone: str = "mic1") -> Reading:
    """Every utterance of one microphone.

    Args:
        microphone: `mic1`, `mic2`, or `both` (the same words twice).
    """
    if microphone not in ("mic1", "mic2", "both"):
        raise CorpusError(f"vctk has no microphone {microphone!r}; use 'mic1', 'mic2' or 'both'")
    corpus = open_corpus("vctk", LAYOUT, root)
    pattern = r"/(?P<speaker_id>[ps]\d+)/(?P<text_id>[ps]\d+_\d+)_(?P<microphone>mic[12])$"
    rows = corpus.matched(pattern, ("wav48_silence_trimmed",))
    if microphone != "both":
        left = rows.filter(pl.col("microphone") != microphone)
        rows = rows.filter(pl.col("microphone") == microphone)
        if len(left):
            message = (
                f"vctk: {len(left)} recordings of the other microphone are left out; microphone=both keeps them"
            )
            corpus.remark(message, "left out", left["path"].to_list())
    trials = rows.with_columns(
        pl.concat_str("text_id", "microphone", separator="_").alias("utterance_id"),
        pl.lit("bonafide").alias("label"),
        pl.lit("en").alias("language"),
    )
    return corpus.reading(corpus.assemble(trials, split))
