"""ASVspoof 5: crowd-sourced speech, attacks A01 to A32 (some adversarial), through codecs in eval."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, standard_split
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.listing import first_match
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import blank_to_null, read_fields, with_labels
from veravox.errors import CorpusError
from veravox.tables.keys import KEY_COLUMNS

LAYOUT = Layout(
    "a folder with ASVspoof5.{train,dev.track_1,eval.track_1}.tsv (or in ASVspoof5_protocols/) and "
    "flac_T/, flac_D/, flac_E_eval/",
    ((Marker("ASVspoof5.*.tsv"),), (Marker("*protocol*/ASVspoof5.*.tsv"),)),
)

PUBLISHED = (
    Published({"split": "train"}, bonafide=18_797, spoof=163_560),
    Published({"split": "dev"}, bonafide=31_334, spoof=109_616),
    Published({"split": "eval"}, bonafide=138_688, spoof=542_086),
)

KEYS = {
    "train": ("ASVspoof5.train.tsv", "flac_T"),
    "dev": ("ASVspoof5.dev.track_1.tsv", "flac_D"),
    "eval": ("ASVspoof5.eval.track_1.tsv", "flac_E_eval"),
}
EXAMPLE = Example(
    files={
        "ASVspoof5.train.tsv": (
            "T_4850 T_0000000000 F - - - AC3 A05 spoof -\nT_0023 T_0000000003 M - - - - bonafide bonafide -\n"
        ),
        "ASVspoof5.dev.track_1.tsv": "D_0062 D_0000000001 F - - - AC1 A11 spoof -\n",
        "ASVspoof5.eval.track_1.tsv": (
            "E_1607 E_0009538969 F C05 4 E_0009538969 AC1 A21 spoof -\n"
            "E_0061 E_0009538971 M - 0 - - bonafide bonafide -\n"
        ),
    },
    audio=(
        "flac_T/T_0000000000.flac",
        "flac_T/T_0000000003.flac",
        "flac_D/D_0000000001.flac",
        "flac_E_eval/E_0009538969.flac",
        "flac_E_eval/E_0009538971.flac",
    ),
    trials={
        "T_0000000000": {"label": "spoof", "attack_id": "A05", "speaker_id": "T_4850", "split": "train"},
        "T_0000000003": {"label": "bonafide", "attack_id": None, "gender": "M"},
        "D_0000000001": {"label": "spoof", "split": "dev"},
        "E_0009538969": {"label": "spoof", "codec": "C05", "codec_quality": "4", "split": "eval"},
        "E_0009538971": {"label": "bonafide", "codec": None},
    },
)


@CORPORA.register("asvspoof5", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """The trials of track 1. The keys have no header: the first line is a trial.

    Source:
        Wang et al., ASVspoof 5: crowdsourced speech data, deepfakes, and adversarial attacks at scale, 2024.
    """
    corpus = open_corpus("asvspoof5", LAYOUT, root)
    folder = corpus.root
    wanted, parts = standard_split(split), []
    for part, (name, audio) in KEYS.items():
        key = first_match(folder, (name, f"*protocol*/{name}"))
        if key is None and wanted == part:
            raise CorpusError(f"the key file {name!r} is missing below {str(folder)!r}")
        if key is None or wanted not in (None, part):
            continue
        rows = with_labels(read_fields(key, KEY_COLUMNS["asvspoof5"]), key)
        file = pl.lit(f"{audio}/") + pl.col("utterance_id")
        parts.append(rows.with_columns(file.alias("file"), pl.lit(part).alias("split")))
    trials = blank_to_null(pl.concat(parts), "codec", "codec_quality", "attack_tag", "attack_id")
    attack = pl.when(pl.col("attack_id") == "bonafide").then(None).otherwise(pl.col("attack_id"))
    trials = trials.with_columns(attack.alias("attack_id")).drop("codec_seed")
    folders = [KEYS[part][1] for part in trials["split"].unique(maintain_order=True)]
    return corpus.reading(corpus.assemble(trials, split, folders))
