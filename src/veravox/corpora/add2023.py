"""ADD 2023, track 1.2: train, dev and two rounds of test."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, standard_split
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.listing import first_match
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import read_fields, with_labels
from veravox.errors import CorpusError

LAYOUT = Layout(
    "a folder with Track1.2/{train,dev,testR1,testR2}/{label.txt,wav/}, or ADD2023track1.2_eval_R2/ alike",
    ((Marker("Track1.2/*/label.txt"),), (Marker("*2023*1.2*/label.txt"),)),
)
GUESS = "that train and dev are laid out like the two test sets"

PUBLISHED = (
    Published({"part": "train"}, bonafide=3_012, spoof=24_072),
    Published({"part": "dev"}, bonafide=2_307, spoof=26_017),
    Published({"part": "testR1"}, trials=111_976),
    Published({"part": "testR2"}, trials=118_477),
)

PARTS = {
    "train": ("train", ("Track1.2/train", "*2023*1.2*train*")),
    "dev": ("dev", ("Track1.2/dev", "*2023*1.2*dev*")),
    "testR1": ("eval", ("Track1.2/testR1", "*2023*1.2*R1*")),
    "testR2": ("eval", ("Track1.2/testR2", "*2023*1.2*R2*")),
}
"""Part to its split, and where it may lie."""

EXAMPLE = Example(
    files={
        "Track1.2/testR2/label.txt": (
            "ADD2023_T1.2R2_E_00000003.wav genuine\nADD2023_T1.2R2_E_00000004.wav fake\n"
        ),
        "Track1.2/dev/label.txt": "ADD2023_T1.2_D_00000001.wav fake\n",
        "ADD2023track1.2_eval_R1/label.txt": "ADD2023_T1.2R1_E_00000000.wav fake\n",
    },
    audio=(
        "Track1.2/testR2/wav/ADD2023_T1.2R2_E_00000003.wav",
        "Track1.2/testR2/wav/ADD2023_T1.2R2_E_00000004.wav",
        "Track1.2/dev/wav/ADD2023_T1.2_D_00000001.wav",
        "ADD2023track1.2_eval_R1/wav/ADD2023_T1.2R1_E_00000000.wav",
    ),
    trials={
        "ADD2023_T1.2R2_E_00000003": {"label": "bonafide", "split": "eval", "part": "testR2", "language": "zh"},
        "ADD2023_T1.2R2_E_00000004": {"label": "spoof"},
        "ADD2023_T1.2_D_00000001": {"label": "spoof", "split": "dev"},
        "ADD2023_T1.2R1_E_00000000": {"label": "spoof", "split": "eval", "part": "testR1"},
    },
)


@CORPORA.register("add2023", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """Every trial of the label files that are here.

    Source:
        Yi et al., ADD 2023: the second audio deepfake detection challenge, 2023.
    """
    corpus = open_corpus("add2023", LAYOUT, root)
    folder = corpus.root
    wanted, parts = standard_split(split), []
    for part, (name, places) in PARTS.items():
        key = first_match(folder, [f"{place}/label.txt" for place in places])
        if key is None or wanted not in (None, name):
            continue
        where = key.parent.relative_to(folder).as_posix()
        rows = with_labels(read_fields(key, ("file", "label")), key)
        stem = pl.col("file").str.replace(r"\.[^./]*$", "")
        parts.append(
            rows.with_columns(
                stem.alias("utterance_id"),
                (pl.lit(f"{where}/wav/") + stem).alias("file"),
                pl.lit(name).alias("split"),
                pl.lit(part).alias("part"),
                pl.lit("zh").alias("language"),
            )
        )
    if not parts:
        raise CorpusError(f"add2023: no label.txt of {split} lies below {str(folder)!r}")
    trials = pl.concat(parts)
    guessed = not trials.filter(pl.col("split") != "eval").is_empty()
    return corpus.reading(corpus.assemble(trials, split, ending=".wav", guess=GUESS if guessed else ""))
