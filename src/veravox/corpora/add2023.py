"""ADD 2023, track 1.2: train, dev and two rounds of test."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, assemble, standard_split
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.rows import read_fields, with_labels
from veravox.errors import CorpusError
from veravox.tables import Protocol

LAYOUT = Layout(
    "a folder with Track1.2/testR2/{label.txt,wav/} (and train, dev, testR1 laid out alike)",
    ((Marker("Track1.2/*/label.txt"),),),
    guess="that train, dev and testR1 are laid out like testR2",
)

PUBLISHED = (
    Published({"part": "train"}, bonafide=3_012, spoof=24_072),
    Published({"part": "dev"}, bonafide=2_307, spoof=26_017),
    Published({"part": "testR1"}, trials=111_976),
    Published({"part": "testR2"}, trials=118_477),
)

PARTS = {"train": "train", "dev": "dev", "testR1": "eval", "testR2": "eval"}

EXAMPLE = Example(
    files={
        "Track1.2/testR2/label.txt": (
            "ADD2023_T1.2R2_E_00000003.wav genuine\nADD2023_T1.2R2_E_00000004.wav fake\n"
        ),
        "Track1.2/dev/label.txt": "ADD2023_T1.2_D_00000001.wav fake\n",
    },
    audio=(
        "Track1.2/testR2/wav/ADD2023_T1.2R2_E_00000003.wav",
        "Track1.2/testR2/wav/ADD2023_T1.2R2_E_00000004.wav",
        "Track1.2/dev/wav/ADD2023_T1.2_D_00000001.wav",
    ),
    trials={
        "ADD2023_T1.2R2_E_00000003": {"label": "bonafide", "split": "eval", "part": "testR2", "language": "zh"},
        "ADD2023_T1.2R2_E_00000004": {"label": "spoof"},
        "ADD2023_T1.2_D_00000001": {"label": "spoof", "split": "dev"},
    },
)


@CORPORA.register("add2023")
def protocol(root: PathLike, split: str | None = None) -> Protocol:
    """Every trial of the label files that are here.

    Source:
        Yi et al., ADD 2023: the second audio deepfake detection challenge, 2023.
    """
    folder = LAYOUT.locate(root, "add2023")
    wanted, parts = standard_split(split), []
    for part, name in PARTS.items():
        key = folder / "Track1.2" / part / "label.txt"
        if wanted not in (None, name) or not key.exists():
            continue
        rows = with_labels(read_fields(key, ("file", "label")), key)
        stem = pl.col("file").str.replace(r"\.[^./]*$", "")
        parts.append(
            rows.with_columns(
                stem.alias("utterance_id"),
                (pl.lit(f"Track1.2/{part}/wav/") + stem).alias("file"),
                pl.lit(name).alias("split"),
                pl.lit(part).alias("part"),
                pl.lit("zh").alias("language"),
            )
        )
    if not parts:
        raise CorpusError(f"add2023: no label.txt of {split} lies below {str(folder / 'Track1.2')!r}")
    return assemble("add2023", LAYOUT, folder, pl.concat(parts), split, ending=".wav")
