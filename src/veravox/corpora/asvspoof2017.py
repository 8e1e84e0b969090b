"""ASVspoof 2017, version 2.0: replayed recordings of ten fixed phrases, many rooms and devices."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, standard_split
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import read_fields, with_labels
from veravox.errors import CorpusError
from veravox.tables import SPOOF

KEYS = {"train": "trn", "dev": "trl", "eval": "trl"}
COLUMNS = ("file_name", "label", "speaker_id", "text_id", "environment", "playback_device", "recording_device")

LAYOUT = Layout(
    "a folder with protocol_V2/ASVspoof2017_V2_*.txt and ASVspoof2017_V2_{train,dev,eval}/*.wav",
    ((Marker("protocol_V2/ASVspoof2017_V2_*.txt"),),),
)

PUBLISHED = (
    Published({"split": "train"}, bonafide=1_507, spoof=1_507),
    Published({"split": "dev"}, bonafide=760, spoof=950),
    Published({"split": "eval"}, bonafide=1_298, spoof=12_008),
)

EXAMPLE = Example(
    files={
        "protocol_V2/ASVspoof2017_V2_train.trn.txt": (
            "T_1000001.wav genuine M0002 S01 - - -\nT_1001508.wav spoof M0002 S05 E02 P05 R04\n"
        ),
        "protocol_V2/ASVspoof2017_V2_dev.trl.txt": (
            "D_1000001.wav genuine M0012 S01 - - -\nD_1000761.wav spoof M0015 S02 E05 P11 R03\n"
        ),
        "protocol_V2/ASVspoof2017_V2_eval.trl.txt": (
            "E_1000001.wav spoof M0030 S08 E19 P23 R12\nE_1000002.wav genuine M0031 S10 - - -\n"
        ),
    },
    audio=(
        "ASVspoof2017_V2_train/T_1000001.wav",
        "ASVspoof2017_V2_train/T_1001508.wav",
        "ASVspoof2017_V2_dev/D_1000001.wav",
        "ASVspoof2017_V2_dev/D_1000761.wav",
        "ASVspoof2017_V2_eval/E_1000001.wav",
        "ASVspoof2017_V2_eval/E_1000002.wav",
    ),
    trials={
        "T_1000001": {"label": "bonafide", "speaker_id": "M0002", "text_id": "S01", "split": "train"},
        "T_1001508": {"label": "spoof", "attack_id": "E02-P05-R04", "environment": "E02"},
        "D_1000001": {"label": "bonafide", "attack_id": None, "split": "dev", "environment": None},
        "D_1000761": {"label": "spoof", "playback_device": "P11", "recording_device": "R03"},
        "E_1000001": {"label": "spoof", "attack_id": "E19-P23-R12", "split": "eval"},
        "E_1000002": {"label": "bonafide", "path": "ASVspoof2017_V2_eval/E_1000002.wav", "language": "en"},
    },
)


@CORPORA.register("asvspoof2017", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """The trials of the version 2.0 protocols; an attack is an environment, a playback and a recording device.

    Source:
        Delgado et al., ASVspoof 2017 Version 2.0: meta-data analysis and baseline enhancements, Odyssey 2018,
        which prints the counts.
    """
    corpus = open_corpus("asvspoof2017", LAYOUT, root)
    wanted, parts = standard_split(split), []
    for part, ending in KEYS.items():
        key = corpus.root / f"protocol_V2/ASVspoof2017_V2_{part}.{ending}.txt"
        if wanted in (None, part) and key.exists():
            rows = with_labels(read_fields(key, COLUMNS), key)
            parts.append(rows.with_columns(pl.lit(part).alias("split")))
        elif wanted == part:
            raise CorpusError(f"asvspoof2017: the key {str(key)!r} is missing; it comes with protocol_V2.zip")
    name = pl.col("file_name").str.replace(r"(?i)\.wav$", "")
    devices = ("environment", "playback_device", "recording_device")
    trials = pl.concat(parts).with_columns(
        name.alias("utterance_id"),
        pl.format("ASVspoof2017_V2_{}/{}", "split", name).alias("file"),
        pl.when(pl.col("label") == SPOOF).then(pl.concat_str(devices, separator="-")).alias("attack_id"),
        *(pl.when(pl.col(device) != "-").then(device).alias(device) for device in devices),
        pl.lit("en").alias("language"),
    )
    folders = [f"ASVspoof2017_V2_{part}" for part in trials["split"].unique(maintain_order=True)]
    return corpus.reading(corpus.assemble(trials.drop("file_name"), split, folders, ending=".wav"))
