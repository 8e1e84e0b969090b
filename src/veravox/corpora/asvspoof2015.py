"""ASVspoof 2015: text-to-speech and voice conversion of 106 speakers, attacks S1 to S10, clean 16 kHz speech."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, standard_split
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.listing import first_match
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import read_fields, with_labels
from veravox.errors import CorpusError
from veravox.tables import SPOOF

KEYS = {"train": "cm_train.trn", "dev": "cm_develop.ndx", "eval": "cm_evaluation.ndx"}

LAYOUT = Layout(
    "a folder with CM_protocol/cm_{train.trn,develop.ndx,evaluation.ndx} (also with .txt) and wav/<speaker>/*.wav",
    (
        (Marker("CM_protocol/cm_*", r"^[TDE]\d+ [TDE]\d+_\d+ (human|S\d+) (human|spoof)$"),),
        (Marker("CM_protocol/cm_*"), Marker("wav/[TDE]*")),
    ),
)

PUBLISHED = (
    Published({"split": "train"}, bonafide=3_750, spoof=12_625),
    Published({"split": "dev"}, bonafide=3_497, spoof=49_875),
    Published({"split": "eval"}, bonafide=9_404, spoof=184_000),
)

EXAMPLE = Example(
    files={
        "CM_protocol/cm_train.trn.txt": "T1 T1_1000001 human human\nT2 T2_1001234 S1 spoof\n",
        "CM_protocol/cm_develop.ndx.txt": (
            "D18 D18_1000001 human human\nD7 D7_1000101 human human\nD4 D4_1003500 S5 spoof\n"
        ),
        "CM_protocol/cm_evaluation.ndx.txt": "E1 E1_1000001 human human\nE11 E11_1050000 S10 spoof\n",
    },
    audio=(
        "wav/T1/T1_1000001.wav",
        "wav/T2/T2_1001234.wav",
        "wav/D18/D18_1000001.wav",
        "wav/D7/D7_1000101.wav",
        "wav/D4/D4_1003500.wav",
        "wav/E1/E1_1000001.wav",
        "wav/E11/E11_1050000.wav",
        "wav/D18/D18_9000001.wav",
    ),
    extra=("wav/D18/D18_9000001.wav",),
    trials={
        "T1_1000001": {"label": "bonafide", "speaker_id": "T1", "attack_id": None, "split": "train"},
        "T2_1001234": {"label": "spoof", "attack_id": "S1", "language": "en"},
        "D18_1000001": {"label": "bonafide", "split": "dev", "path": "wav/D18/D18_1000001.wav"},
        "D7_1000101": {"label": "bonafide"},
        "D4_1003500": {"label": "spoof", "attack_id": "S5"},
        "E1_1000001": {"label": "bonafide", "split": "eval"},
        "E11_1050000": {"label": "spoof", "attack_id": "S10", "speaker_id": "E11"},
    },
)


@CORPORA.register("asvspoof2015", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """The trials of the countermeasure protocols; the enrolment files of the speaker verification are no trials.

    Source:
        Wu et al., ASVspoof 2015: the first automatic speaker verification spoofing and countermeasures challenge,
        Interspeech 2015, which prints the counts.
    """
    corpus = open_corpus("asvspoof2015", LAYOUT, root)
    wanted, parts = standard_split(split), []
    for part, name in KEYS.items():
        key = first_match(corpus.root, (f"CM_protocol/{name}.txt", f"CM_protocol/{name}"))
        if wanted in (None, part) and key is not None:
            rows = with_labels(read_fields(key, ("speaker_id", "utterance_id", "attack_id", "label")), key)
            parts.append(rows.with_columns(pl.lit(part).alias("split")))
        elif wanted == part:
            raise CorpusError(f"asvspoof2015: CM_protocol/{name}.txt is missing below {str(corpus.root)!r}")
    trials = pl.concat(parts).with_columns(
        pl.format("wav/{}/{}", "speaker_id", "utterance_id").alias("file"),
        pl.when(pl.col("label") == SPOOF).then("attack_id").alias("attack_id"),
        pl.lit("en").alias("language"),
    )
    return corpus.reading(corpus.assemble(trials, split, ["wav"], ending=".wav"))
