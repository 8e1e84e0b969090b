"""DiffSSD: speech of diffusion-based systems; spoof only, paired with LJSpeech and LibriSpeech."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import (
    SPLIT_NAMES,
    PathLike,
    assemble,
    companions,
    keep_split,
    matched,
    with_companions,
)
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.rows import read_headed
from veravox.tables import Protocol

LAYOUT = Layout(
    "a folder with generated_speech/<system>/[speaker_N/]*.wav (and train_val_test_splits.csv)",
    ((Marker("generated_speech/*"),),),
    guess="that train_val_test_splits.csv names its files generated_speech/<system>/x.wav, and the bona fide "
    "librispeech/... or ljspeech/...",
)

PUBLISHED: tuple[Published, ...] = ()

EXAMPLE = Example(
    files={
        "train_val_test_splits.csv": "filename,target,set\ngenerated_speech/gradtts/0.wav,1,train\n"
        "generated_speech/xtts_v2/speaker_1/0.wav,1,test\nljspeech/LJ001-0001.wav,0,test\n"
        "ljspeech/LJ001-0002.wav,0,train\n"
    },
    audio=(
        "generated_speech/gradtts/0.wav",
        "generated_speech/gradtts/1.wav",
        "generated_speech/xtts_v2/speaker_1/0.wav",
    ),
    companions={"ljspeech": "ljspeech"},
    trials={
        "gradtts/0": {"label": "spoof", "attack_id": "gradtts", "split": "train", "speaker_id": None},
        "gradtts/1": {"label": "spoof", "split": None},
        "xtts_v2/speaker_1/0": {"attack_id": "xtts_v2", "speaker_id": "speaker_1", "split": "eval"},
        "ljspeech/LJ001-0001": {"label": "bonafide", "split": "eval", "domain": "diffssd"},
        "ljspeech/LJ001-0002": {"label": "bonafide", "split": "train"},
    },
)


@CORPORA.register("diffssd")
def protocol(
    root: PathLike,
    split: str | None = None,
    ljspeech: str | None = None,
    librispeech: str | None = None,
    bona_fide_trials: int | None = None,
    seed: int = 0,
) -> Protocol:
    """Every generated file, with the published splits where their list is there.

    Args:
        ljspeech: folder of LJSpeech-1.1, a bona fide companion.
        librispeech: folder of LibriSpeech, the other one.
        bona_fide_trials: how many to draw from both; all if None.
        seed: of the draw.
    Source:
        Bhagtani et al., DiffSSD: a diffusion-based dataset for speech forensics, 2024.
    """
    folder = LAYOUT.locate(root, "diffssd")
    pattern = r"^generated_speech/(?P<attack_id>[^/]+)/(?:(?P<speaker_id>[^/]+)/)?(?:[^/]+/)*[^/]+$"
    trials = matched("diffssd", folder, pattern, ("generated_speech",)).with_columns(
        pl.col("utterance_id").str.strip_prefix("generated_speech/"),
        pl.lit("spoof").alias("label"),
        pl.lit("en").alias("language"),
    )
    made = assemble("diffssd", LAYOUT, folder, trials)
    roots = {"ljspeech": ljspeech, "librispeech": librispeech}
    bona_fide = companions("diffssd", roots, bona_fide_trials, seed)
    whole = with_splits(folder, with_companions(made.frame, bona_fide))
    return made.with_frame(keep_split(whole, split, "diffssd"))


def with_splits(folder: Path, trials: pl.DataFrame) -> pl.DataFrame:
    """The trials with `split` from the published list; by name, since the companions may lie elsewhere."""
    key = folder / "train_val_test_splits.csv"
    if not key.exists():
        return trials
    rows = read_headed(key, ("filename", "set"))
    name = pl.col("filename").str.replace(r"^generated_speech/", "").str.replace(r"\.[^./]*$", "")
    bona_fide = name.str.extract(r"^(?:[Ll]ibri[Ss]peech|LJSpeech-1\.1|ljspeech)/(?:.*/)?([^/]+)$")
    splits = rows.select(
        pl.coalesce(bona_fide, name).alias("name"),
        pl.col("set").str.to_lowercase().replace(SPLIT_NAMES).alias("split"),
    ).unique("name", keep="first", maintain_order=True)
    trials = trials.with_columns(
        pl.col("utterance_id").str.replace(r"^(?:ljspeech|librispeech)/", "").alias("name")
    )
    return trials.join(splits, on="name", how="left", maintain_order="left").drop("name")
