"""The Purdue synthetic speech set: one folder per generator; spoof only, paired with LJSpeech and LibriSpeech."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, with_companions
from veravox.corpora.reading.layout import Layout
from veravox.corpora.reading.outcome import Reading

LAYOUT = Layout(
    "a folder with <generator>/*.wav or <generator>/<part>/*.wav",
    guess="that every top folder is a generator, named for it, and every audio file below it spoof; auto cannot "
    "recognise it",
)

PUBLISHED = (Published({}, spoof=25_000),)

EXAMPLE = Example(
    audio=(
        "hifigan/LJ001-0001.wav",
        "gradtts/libri/84-121123-0000.wav",
        "gradtts/lj/LJ001-0001.wav",
    ),
    companions={"ljspeech": "ljspeech", "librispeech": "librispeech"},
    options={"bona_fide_trials": 4, "seed": 1},
    trials={
        "hifigan/LJ001-0001": {"label": "spoof", "attack_id": "hifigan", "domain": "purdue"},
        "gradtts/libri/84-121123-0000": {"attack_id": "gradtts", "part": "libri", "text_id": "84-121123-0000"},
        "gradtts/lj/LJ001-0001": {"attack_id": "gradtts", "text_id": "LJ001-0001"},
        "librispeech/1688-142285-0000": {"label": "bonafide", "source_id": "librispeech", "domain": "purdue"},
        "librispeech/19-198-0000": {"label": "bonafide"},
        "librispeech/84-121123-0000": {"label": "bonafide", "text_id": "84-121123-0000"},
        "ljspeech/LJ001-0002": {"label": "bonafide", "source_id": "ljspeech"},
    },
)


@CORPORA.register("purdue", LAYOUT, PUBLISHED, EXAMPLE)
def read(
    root: PathLike,
    split: str | None = None,
    ljspeech: str | None = None,
    librispeech: str | None = None,
    bona_fide_trials: int | None = None,
    seed: int = 0,
) -> Reading:
    """Every audio file below a generator's folder.

    Args:
        ljspeech: folder of LJSpeech-1.1, a bona fide companion.
        librispeech: folder of LibriSpeech, the other one.
        bona_fide_trials: how many to draw from both (the papers have 24,226: all of LJSpeech, and 11,126 of
            LibriSpeech: dev-clean and a part of train-clean-100); all if None.
        seed: of the draw.
    """
    corpus = open_corpus("purdue", LAYOUT, root)
    rows = corpus.matched(r"^(?P<attack_id>[^/]+)/(?:(?P<part>.+)/)?(?P<name>[^/]+)$")
    trials = rows.with_columns(
        pl.lit("spoof").alias("label"),
        pl.lit("en").alias("language"),
        pl.col("name").str.extract(r"(LJ\d{3}-\d{4}|\d+-\d+-\d{4})").alias("text_id"),
    ).drop("name")
    made = corpus.assemble(trials, split)
    roots = {"ljspeech": ljspeech, "librispeech": librispeech}
    bona_fide = corpus.companions(roots, bona_fide_trials, seed)
    return corpus.reading(made.with_frame(with_companions(made.frame, bona_fide)))
