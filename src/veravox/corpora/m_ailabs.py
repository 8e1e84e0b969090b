"""M-AILABS: read books in nine languages; bona fide only, the companion of MLAAD."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading

LAYOUT = Layout(
    "a folder with <locale>/by_book/<gender>/<speaker>/<book>/wavs/*.wav",
    ((Marker("*/by_book/*/*/*/wavs"),), (Marker("*/by_book/*/*/wavs"),)),
)

PUBLISHED: tuple[Published, ...] = ()

EXAMPLE = Example(
    audio=(
        "en_US/by_book/female/judy_bieber/wizard/wavs/wizard_03.wav",
        "de_DE/by_book/mix/haha/wavs/haha_01.wav",
    ),
    trials={
        "en_US/by_book/female/judy_bieber/wizard/wavs/wizard_03": {
            "label": "bonafide",
            "speaker_id": "judy_bieber",
            "language": "en",
            "text_id": "wizard_03",
        },
        "de_DE/by_book/mix/haha/wavs/haha_01": {"label": "bonafide", "language": "de", "speaker_id": None},
    },
)


@CORPORA.register("m_ailabs", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """Every recording of every book; books read by several people (`mix`) have no speaker."""
    corpus = open_corpus("m_ailabs", LAYOUT, root)
    pattern = (
        r"(?:^|/)(?P<language>[a-z]{2})_[A-Z]{2}/by_book/(?P<gender>[^/]+)/"
        r"(?:(?P<speaker_id>[^/]+)/)?(?P<book>[^/]+)/wavs/(?P<text_id>[^/]+)$"
    )
    rows = corpus.matched(pattern)
    trials = rows.with_columns(pl.lit("bonafide").alias("label"))
    return corpus.reading(corpus.assemble(trials, split))
