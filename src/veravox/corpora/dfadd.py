"""DFADD: diffusion and flow-matching text-to-speech over VCTK speakers."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import SPLIT_NAMES, PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.tables import BONA_FIDE, SPOOF

LAYOUT = Layout(
    "a folder with DATASET_<generator>/{train,valid,test}/*.wav and DATASET_VCTK_BONAFIDE/ laid out alike",
    ((Marker("DATASET_*/t*"),), (Marker("DATASET_*/*_*.*"),)),
)

PUBLISHED = (
    Published({}, bonafide=44_455, spoof=163_500),
    Published({"split": "eval"}, bonafide=755, spoof=3_000),
)

EXAMPLE = Example(
    audio=(
        "DATASET_GradTTS/train/p227_164_GradTTS.wav",
        "DATASET_StyleTTS2/test/p228_001_StyleTTS2.wav",
        "DATASET_PflowTTS/test/p227_189_pflow.wav",
        "DATASET_PflowTTS/test/p227_190.wav",
        "DATASET_VCTK_BONAFIDE/train/p227_164.wav",
        "DATASET_VCTK_BONAFIDE/valid/p229_002_mic1.wav",
    ),
    trials={
        "DATASET_GradTTS/train/p227_164_GradTTS": {
            "label": "spoof",
            "attack_id": "GradTTS",
            "speaker_id": "p227",
            "text_id": "p227_164",
            "split": "train",
        },
        "DATASET_StyleTTS2/test/p228_001_StyleTTS2": {"attack_id": "StyleTTS2", "split": "eval"},
        "DATASET_PflowTTS/test/p227_189_pflow": {"attack_id": "pflow", "label": "spoof"},
        "DATASET_PflowTTS/test/p227_190": {"attack_id": "PflowTTS", "text_id": "p227_190"},
        "DATASET_VCTK_BONAFIDE/train/p227_164": {"label": "bonafide", "attack_id": None, "text_id": "p227_164"},
        "DATASET_VCTK_BONAFIDE/valid/p229_002_mic1": {"label": "bonafide", "split": "dev", "speaker_id": "p229"},
    },
)


@CORPORA.register("dfadd", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """Every file; spoof and bona fide of one sentence share their `text_id`.

    The generator is the last part of the file's name, or the folder's where the name ends without one.

    Source:
        Du et al., DFADD: the diffusion and flow-matching based audio deepfake dataset, SLT 2024.
    """
    corpus = open_corpus("dfadd", LAYOUT, root)
    pattern = r"^DATASET_(?P<generator>[^/]+)/(?:(?P<split>[^/]+)/)?(?P<name>[^/]+)$"
    rows = corpus.matched(pattern)
    bona_fide = pl.col("generator").str.to_uppercase().str.contains("BONAFIDE")
    last = pl.col("name").str.replace(r"_mic\d$", "").str.extract(r"_([A-Za-z][^_]*)$")
    trials = rows.with_columns(
        pl.when(bona_fide).then(pl.lit(BONA_FIDE)).otherwise(pl.lit(SPOOF)).alias("label"),
        pl.when(bona_fide).then(None).otherwise(pl.coalesce(last, "generator")).alias("attack_id"),
        pl.col("name").str.extract(r"^([ps]\d+)_").alias("speaker_id"),
        pl.col("name").str.extract(r"^([ps]\d+_\d+)").alias("text_id"),
        pl.col("split").str.to_lowercase().replace(SPLIT_NAMES),
        pl.lit("en").alias("language"),
    ).drop("generator", "name")
    return corpus.reading(corpus.assemble(trials, split))
