"""ADD 2022, the audio deep synthesis detection challenge: train, dev, track 1 and track 3.2."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, standard_split
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.listing import first_match
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import blank_to_null, read_fields, with_labels
from veravox.errors import CorpusError, suggest

LAYOUT = Layout(
    "a folder with ADD_train_dev/{label/{train,dev}_label.txt,train/,dev/}, "
    "ADD2022_test/{track1_label.txt,track1test/} and ADD2022track3.2_eval_R2/{track3_R2_label.txt,wav/}",
    (
        (Marker("ADD_train_dev/label/*_label.txt"),),
        (Marker("ADD2022_test/*label*.txt"),),
        (Marker("*3.2*/*label*.txt"),),
    ),
)

PUBLISHED = (
    Published({"track": "train"}, bonafide=3_012, spoof=24_072),
    Published({"track": "dev"}, bonafide=2_307, spoof=26_017),
    Published({"track": "1"}, trials=109_199),
    Published({"track": "3.2"}, trials=126_861),
)

PARTS = {
    "train": ("train", ("ADD_train_dev/label/train_label.txt",), "ADD_train_dev/train"),
    "dev": ("dev", ("ADD_train_dev/label/dev_label.txt",), "ADD_train_dev/dev"),
    "1": ("eval", ("ADD2022_test/track1_label.txt", "ADD2022_test/*track1*label*.txt"), "ADD2022_test/track1test"),
    "3.2": (
        "eval",
        (
            "ADD2022track3.2_eval_R2/track3_R2_label.txt",
            "ADD2022_test/*track3*label*.txt",
            "*3.2*/*label*.txt",
            "*3.2*/*/*label*.txt",
        ),
        "ADD2022track3.2_eval_R2/wav",
    ),
}
"""Track to its split, where its labels may lie, and where its audio should."""

EXAMPLE = Example(
    files={
        "ADD_train_dev/label/train_label.txt": "ADD_T_00000000.wav fake\nADD_T_00000001.wav genuine\n",
        "ADD_train_dev/label/dev_label.txt": "ADD_D_00000000.wav genuine\n",
        "ADD2022_test/track1_label.txt": "ADD_E_00000000.wav genuine\nADD_E_00000001.wav fake\n",
        "ADD2022track3.2_eval_R2/track3_R2_label.txt": (
            "ADD_E3_00126741.wav fake A03\nADD_E3_00126742.wav genuine -\n"
        ),
    },
    audio=(
        "ADD_train_dev/train/ADD_T_00000000.wav",
        "ADD_train_dev/train/ADD_T_00000001.wav",
        "ADD_train_dev/dev/ADD_D_00000000.wav",
        "ADD2022_test/track1test/ADD_E_00000000.wav",
        "ADD2022_test/track1test/ADD_E_00000001.wav",
        "ADD2022track3.2_eval_R2/wav/ADD_E3_00126741.wav",
        "ADD2022track3.2_eval_R2/wav/ADD_E3_00126742.wav",
    ),
    trials={
        "ADD_T_00000000": {"label": "spoof", "split": "train", "track": "train"},
        "ADD_T_00000001": {"label": "bonafide", "language": "zh"},
        "ADD_D_00000000": {"label": "bonafide", "split": "dev"},
        "1/ADD_E_00000000": {"label": "bonafide", "split": "eval", "track": "1"},
        "1/ADD_E_00000001": {"label": "spoof"},
        "3.2/ADD_E3_00126741": {"label": "spoof", "attack_id": "A03", "track": "3.2"},
        "3.2/ADD_E3_00126742": {"label": "bonafide", "attack_id": None},
    },
)


@CORPORA.register("add2022", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None, track: str | None = None) -> Reading:
    """Train and dev, and the test sets of track 1 and track 3.2; test ids begin with their track.

    Args:
        track: `train`, `dev`, `1` or `3.2`; all that are here if None.
    Source:
        Yi et al., ADD 2022: the first audio deep synthesis detection challenge, ICASSP 2022.
    """
    if track is not None and track not in PARTS:
        raise CorpusError(f"add2022 has no track {track!r}; {suggest(track, PARTS)}")
    corpus = open_corpus("add2022", LAYOUT, root)
    folder = corpus.root
    wanted = standard_split(split)
    parts = []
    for name, (part, keys, audio) in PARTS.items():
        key = first_match(folder, keys) if track in (None, name) and wanted in (None, part) else None
        if key is not None:
            parts.append(_read(folder, key, name, part, audio))
    if not parts:
        raise CorpusError(f"add2022: no label file of track {track or split} lies below {str(folder)!r}")
    trials = pl.concat(parts, how="diagonal")
    return corpus.reading(corpus.assemble(trials, split, ending=".wav"))


def _read(folder: Path, key: Path, track: str, split: str, audio: str) -> pl.DataFrame:
    attacks = track == "3.2"
    rows = with_labels(read_fields(key, ("file", "label", "attack_id") if attacks else ("file", "label")), key)
    if attacks:
        rows = blank_to_null(rows, "attack_id")
        bona_fide = pl.col("label") == "bonafide"
        rows = rows.with_columns(pl.when(bona_fide).then(None).otherwise(pl.col("attack_id")).alias("attack_id"))
    stem = pl.col("file").str.replace(r"\.[^./]*$", "")
    prefix = "" if track == split else f"{track}/"
    where = next((place for place in (audio, f"{audio}/wav") if (folder / place).is_dir()), None)
    where = where or _folder_of(folder, key, rows["file"][0]) or audio
    return rows.with_columns(
        (pl.lit(prefix) + stem).alias("utterance_id"),
        (pl.lit(f"{where}/") + stem).alias("file"),
        pl.lit(split).alias("split"),
        pl.lit(track).alias("track"),
        pl.lit("zh").alias("language"),
    )


def _folder_of(folder: Path, key: Path, name: str) -> str | None:
    """The folder, at most two levels below the label file's, that holds the first file of the list."""
    found = first_match(key.parent, (name, f"*/{name}", f"*/*/{name}"))
    return found.parent.relative_to(folder).as_posix() if found else None
