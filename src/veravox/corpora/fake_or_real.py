"""Fake-or-Real, in its four versions: original, norm, 2seconds, rerecorded."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import SPLIT_NAMES, PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.errors import CorpusError, suggest
from veravox.tables import LABEL_ALIASES

LAYOUT = Layout(
    "a folder with for-{original,norm,2seconds,rerecorded}/{training,validation,testing}/{real,fake}/, "
    "or one of these versions itself",
    (
        (Marker("for-*/t*ing/fake"),),
        (Marker("for-*/for-*/t*ing/fake"),),
        (Marker("training/real"), Marker("training/fake")),
        (Marker("testing/real"), Marker("testing/fake")),
    ),
)

PUBLISHED = (
    Published({"version": "norm", "split": "train"}, bonafide=26_941, spoof=26_927),
    Published({"version": "norm", "split": "dev"}, bonafide=5_400, spoof=5_398),
    Published({"version": "norm", "split": "eval"}, bonafide=2_264, spoof=2_370),
)

VERSIONS = {"2sec": "2seconds", "rerec": "rerecorded"}

EXAMPLE = Example(
    audio=(
        "for-norm/training/real/file1.mp3.wav_16k.wav_norm.wav_mono.wav_silence.wav",
        "for-norm/training/fake/file1.mp3.wav_16k.wav_norm.wav_mono.wav_silence.wav",
        "for-norm/validation/real/file7.wav",
        "for-norm/testing/fake/file2.wav",
        "for-original/testing/fake/file2.mp3",
        "for-original/testing/fake/file2.wav",
    ),
    trials={
        "norm/training/real/file1.mp3.wav_16k.wav_norm.wav_mono.wav_silence": {
            "label": "bonafide",
            "split": "train",
        },
        "norm/training/fake/file1.mp3.wav_16k.wav_norm.wav_mono.wav_silence": {
            "label": "spoof",
            "version": "norm",
        },
        "norm/validation/real/file7": {"label": "bonafide", "split": "dev", "language": "en"},
        "norm/testing/fake/file2": {"label": "spoof", "split": "eval"},
        "original/testing/fake/file2.mp3": {"label": "spoof", "version": "original"},
        "original/testing/fake/file2.wav": {"path": "for-original/testing/fake/file2.wav"},
    },
)


@CORPORA.register("fake_or_real", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None, version: str | None = None) -> Reading:
    """Every file of the label folders: mp3 and wav mixed; a scan lists those that cannot be read.

    Args:
        version: `original`, `norm`, `2seconds` or `rerecorded`; all that are here if None.
    Source:
        Reimao and Tzerpos, FoR: a dataset for synthetic speech detection, SpeD 2019.
    """
    corpus = open_corpus("fake_or_real", LAYOUT, root)
    folder = corpus.root
    prefix = r"^(?:(?:for-[^/]+/)?for-(?P<version>[^/]+)/)?"
    pattern = prefix + r"(?P<split>training|validation|testing)/(?P<kind>real|fake)/(?P<file>.+)$"
    rows = corpus.matched(pattern)
    own = folder.resolve().name.removeprefix("for-")
    rows = rows.with_columns(pl.col("version").fill_null(own).replace(VERSIONS))
    known = sorted(rows["version"].unique())
    if version is not None:
        if version not in known:
            raise CorpusError(f"fake_or_real has no version {version!r} here; {suggest(version, known)}")
        rows = rows.filter(pl.col("version") == version)
    elif len(known) > 1:
        message = (
            f"fake_or_real: the versions {', '.join(known)} hold the same speech; choose one with version=NAME"
        )
        corpus.remark(message, "left out")
    tail = pl.concat_str(pl.col("version"), pl.col("split"), pl.col("kind"), pl.col("file"), separator="/")
    ending = (
        pl.when(tail.is_duplicated())
        .then(pl.col("path").str.extract(r"(\.[^./]*)$").str.to_lowercase())
        .otherwise(pl.lit(""))
    )
    trials = rows.with_columns(
        (tail + ending).alias("utterance_id"),
        pl.col("kind").replace(LABEL_ALIASES).alias("label"),
        pl.col("split").replace(SPLIT_NAMES),
        pl.lit("en").alias("language"),
    ).drop("kind", "file")
    return corpus.reading(corpus.assemble(trials, split))
