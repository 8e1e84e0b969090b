"""Codecfake (Xie et al.): speech re-synthesised by seven neural codecs, and by audio language models."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import CorpusFolder, PathLike, open_corpus
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import read_fields, with_labels
from veravox.errors import CorpusError, first_few
from veravox.tables import BONA_FIDE, SPOOF

LAYOUT = Layout(
    "a folder with label/*.txt, train/, dev/ and test/{C1..C7,A1..A3}/ (or these without test/) of *.wav",
    (
        (Marker("label/*.txt", r"\.wav (real|fake)\b"),),
        (Marker("test/[CA][1-7]/*"), Marker("train")),
        (Marker("[CA][1-7]/[FL]*_*"),),
        (Marker("test/[CA][1-7]/[FL]*_*"),),
        (Marker("train/F0[1-9]_*"),),
    ),
    guess="where label/<folder>.txt is not there: that a file beginning F01_ to F07_ or L1_ to L3_ is spoof by "
    "that codec or model, and every other bona fide",
)

PUBLISHED = (
    Published({"condition": "train"}, bonafide=105_821, spoof=634_926),
    Published({"condition": "dev"}, bonafide=13_228, spoof=79_368),
    *(Published({"condition": f"C{codec}"}, bonafide=13_228, spoof=13_228) for codec in range(1, 7)),
    Published({"condition": "C7"}, bonafide=13_228, spoof=132_277),
    Published({"condition": "A1"}, trials=8_902),
    Published({"condition": "A2"}, trials=8_902),
    Published({"condition": "A3"}, trials=99_112),
)
"""C1 to C7 hold the same 13,228 bona fide recordings: the folders have more files than the 1,058,216 made."""

METHOD = r"^([FL]\d{1,2})_"
FOLDERS = r"^(?:test/)?(?P<condition>train|dev|val|C[1-7]|A[1-3])/(?P<name>[^/]+)$"

EXAMPLE = Example(
    files={
        "label/C7.txt": "SSB13650058.wav real 0\nF07_SSB13650058.wav fake 7\n",
        "label/dev.txt": "p258_054.wav real 0\nF01_p258_054.wav fake 1\nF02_p258_054.wav fake 2\n",
        "label/A1.txt": "p247_284.wav real L1\nL1_p247_284.wav fake L1\n",
    },
    audio=(
        "test/C7/SSB13650058.wav",
        "test/C7/F07_SSB13650058.wav",
        "dev/p258_054.wav",
        "dev/F01_p258_054.wav",
        "dev/F02_p258_054.wav",
        "test/A1/p247_284.wav",
        "test/A1/L1_p247_284.wav",
        "train/F03_SSB18370167.wav",
        "train/SSB18370167.wav",
    ),
    trials={
        "C7/SSB13650058": {"label": "bonafide", "attack_id": None, "split": "eval", "speaker_id": "SSB1365"},
        "C7/F07_SSB13650058": {"label": "spoof", "attack_id": "F07", "text_id": "SSB13650058", "condition": "C7"},
        "dev/p258_054": {"label": "bonafide", "split": "dev", "speaker_id": "p258", "language": "en"},
        "dev/F01_p258_054": {"label": "spoof", "attack_id": "F01"},
        "dev/F02_p258_054": {"label": "spoof", "attack_id": "F02", "text_id": "p258_054"},
        "A1/p247_284": {"label": "bonafide", "attack_id": None},
        "A1/L1_p247_284": {
            "label": "spoof",
            "attack_id": "L1",
            "condition": "A1",
            "path": "test/A1/L1_p247_284.wav",
        },
        "train/F03_SSB18370167": {"label": "spoof", "split": "train", "attack_id": "F03", "language": "zh"},
        "train/SSB18370167": {"label": "bonafide"},
    },
)


@CORPORA.register("codecfake", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """The trials of the label files; of a folder without one, its files, labelled by their names.

    Source:
        Xie et al., The Codecfake dataset and countermeasures, TASLP 2025.
    """
    corpus = open_corpus("codecfake", LAYOUT, root)
    folder = corpus.root
    folders = _folders(folder)
    keys = {name: folder / "label" / f"{name}.txt" for name in ("train", "dev", "val", *CONDITIONS)}
    keys = {name: key for name, key in keys.items() if key.exists()}
    absent = [key.name for name, key in keys.items() if name not in folders]
    if absent:
        corpus.remark(
            f"codecfake: the folders of {first_few(absent, 12)} are not here; their trials are left out",
            "left out",
        )
    parts = [_listed(keys[name], name, folders[name]) for name in folders if name in keys]
    unlisted = [place for name, place in folders.items() if name not in keys]
    if unlisted:
        parts.append(_by_name(corpus, unlisted))
    if not parts:
        raise CorpusError(f"codecfake: none of train, dev, test, C1 to C7, A1 to A3 lies in {str(folder)!r}")
    rows = pl.concat(parts, how="diagonal")
    trials = rows.with_columns(
        pl.col("condition").replace_strict({"train": "train", "dev": "dev"}, default="eval").alias("split"),
        pl.col("text_id").str.extract(r"^(p\d{3}|SSB\d{4})").alias("speaker_id"),
        pl.when(pl.col("text_id").str.contains(r"^p\d{3}_")).then(pl.lit("en")).alias("language"),
        pl.when(pl.col("label") == SPOOF).then("attack_id").alias("attack_id"),
    ).with_columns(
        pl.when(pl.col("text_id").str.starts_with("SSB"))
        .then(pl.lit("zh"))
        .otherwise("language")
        .alias("language")
    )
    return corpus.reading(
        corpus.assemble(trials, split, list(folders.values()), ending=".wav", guess=None if unlisted else "")
    )


CONDITIONS = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "A1", "A2", "A3")


def _folders(folder: Path) -> dict[str, str]:
    """Each part that is here, to its folder relative to ROOT."""
    places = {name: (name, f"test/{name}") for name in ("train", "dev", "val", *CONDITIONS)}
    found = {
        name: next((place for place in two if (folder / place).is_dir()), None) for name, two in places.items()
    }
    return {name: place for name, place in found.items() if place}


def _listed(key: Path, name: str, place: str) -> pl.DataFrame:
    """The trials of a label file, `file real|fake method`; the name of a spoof file begins with its method."""
    rows = with_labels(read_fields(key, ("file", "label"), more=True), key)
    stem = pl.col("file").str.replace(r"\.[^./]*$", "")
    return rows.select(
        (pl.lit(f"{_condition(name)}/") + stem).alias("utterance_id"),
        (pl.lit(f"{place}/") + stem).alias("file"),
        "label",
        pl.lit(_condition(name)).alias("condition"),
        stem.str.replace(METHOD, "").alias("text_id"),
        stem.str.extract(METHOD).alias("attack_id"),
    )


def _by_name(corpus: CorpusFolder, places: list[str]) -> pl.DataFrame:
    """The files of folders without a label file."""
    rows = corpus.matched(FOLDERS, places)
    condition = pl.col("condition").replace({"val": "dev"})
    stem = pl.col("path").str.replace(r"\.[^./]*$", "")
    method = pl.col("name").str.extract(METHOD)
    by_name = pl.when(method.is_null()).then(pl.lit(BONA_FIDE)).otherwise(pl.lit(SPOOF))
    return rows.select(
        pl.concat_str(condition, "name", separator="/").alias("utterance_id"),
        stem.alias("file"),
        by_name.alias("label"),
        condition.alias("condition"),
        pl.col("name").str.replace(METHOD, "").alias("text_id"),
        method.alias("attack_id"),
    )


def _condition(name: str) -> str:
    return "dev" if name == "val" else name
