"""LibriSpeech: read English books; bona fide only."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading

LAYOUT = Layout(
    "the folder LibriSpeech, with <subset>/<speaker>/<chapter>/<speaker>-<chapter>-<utterance>.flac",
    tuple(
        (Marker(f"{subset}*/*/*"),)
        for subset in ("dev-clean", "dev-other", "test-clean", "test-other", "train-clean-", "train-other-")
    ),
)

PUBLISHED = tuple(
    Published({"subset": subset}, bonafide=trials)
    for subset, trials in {
        "train-clean-100": 28_539,
        "train-clean-360": 104_014,
        "train-other-500": 148_688,
        "dev-clean": 2_703,
        "dev-other": 2_864,
        "test-clean": 2_620,
        "test-other": 2_939,
    }.items()
)

EXAMPLE = Example(
    files={"dev-clean/84/121123/84-121123.trans.txt": "84-121123-0000 GO DO YOU HEAR\n"},
    audio=(
        "dev-clean/84/121123/84-121123-0000.flac",
        "test-other/1688/142285/1688-142285-0000.flac",
        "train-clean-100/19/198/19-198-0000.flac",
    ),
    trials={
        "84-121123-0000": {"label": "bonafide", "speaker_id": "84", "split": "dev", "subset": "dev-clean"},
        "1688-142285-0000": {"split": "eval", "chapter": "142285", "language": "en"},
        "19-198-0000": {"split": "train", "text_id": "19-198-0000"},
    },
)


@CORPORA.register("librispeech", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None, subset: str | None = None) -> Reading:
    """Every utterance of the subsets that are here.

    Args:
        subset: only this one, like `dev-clean`.
    """
    corpus = open_corpus("librispeech", LAYOUT, root)
    pattern = (
        r"^(?P<subset>(?P<split>train|dev|test)-[^/]+)/"
        r"(?P<speaker_id>\d+)/(?P<chapter>\d+)/(?P<text_id>\d+-\d+-\d+)$"
    )
    rows = corpus.matched(pattern, (subset,) if subset else ("",))
    trials = rows.with_columns(
        pl.col("text_id").alias("utterance_id"),
        pl.col("split").replace({"test": "eval"}),
        pl.lit("bonafide").alias("label"),
        pl.lit("en").alias("language"),
    )
    return corpus.reading(corpus.assemble(trials, split))
