"""SpoofCeleb: text-to-speech trained on VoxCeleb1, real-world recordings; attack `a00` is bona fide."""

from __future__ import annotations

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import PathLike, open_corpus, standard_split
from veravox.corpora.reading.layout import Layout, Marker
from veravox.corpora.reading.outcome import Reading
from veravox.corpora.reading.rows import LINE, read_headed
from veravox.errors import CorpusError
from veravox.tables import BONA_FIDE, SPOOF

LAYOUT = Layout(
    "a folder with metadata/{train,development,evaluation}.csv and flac/{train,development,evaluation}/",
    ((Marker("metadata/*.csv", r"^file,speaker,attack"),),),
)

PUBLISHED = (
    Published({"split": "train"}, bonafide=230_948, spoof=2_309_473),
    Published({"split": "dev"}, bonafide=7_963, spoof=47_778),
    Published({"split": "eval"}, bonafide=9_113, spoof=82_017),
)

PARTS = {"train": "train", "development": "dev", "evaluation": "eval"}

EXAMPLE = Example(
    files={
        "metadata/train.csv": "file,speaker,attack\na00/id10001/1zcIwhmdeo4-00001.flac,id10001,a00\n"
        "a01/id10001/1zcIwhmdeo4-00001.flac,id10001,a01\n",
        "metadata/evaluation.csv": "file,speaker,attack\na15/id10270/5r0dWxy17C8-00001.flac,id10270,a15\n",
        "metadata/development.csv": "file,speaker,attack\na00/id10318/YYsxcZ5saac-00002-006.flac,id10318,a00\n",
    },
    audio=(
        "flac/train/a00/id10001/1zcIwhmdeo4-00001.flac",
        "flac/train/a01/id10001/1zcIwhmdeo4-00001.flac",
        "flac/evaluation/a15/id10270/5r0dWxy17C8-00001.flac",
        "flac/development/a00/id10318/YYsxcZ5saac-00002-006.flac",
    ),
    trials={
        "train/a00/id10001/1zcIwhmdeo4-00001": {"label": "bonafide", "attack_id": None, "split": "train"},
        "train/a01/id10001/1zcIwhmdeo4-00001": {"label": "spoof", "attack_id": "a01", "speaker_id": "id10001"},
        "evaluation/a15/id10270/5r0dWxy17C8-00001": {"label": "spoof", "split": "eval"},
        "development/a00/id10318/YYsxcZ5saac-00002-006": {"label": "bonafide", "split": "dev"},
    },
)


@CORPORA.register("spoofceleb", LAYOUT, PUBLISHED, EXAMPLE)
def read(root: PathLike, split: str | None = None) -> Reading:
    """Every row of the metadata. One file name lies in many attack folders, so an id holds its folders.

    Source:
        Jung et al., SpoofCeleb: speech deepfake detection and SASV in the wild, OJSP 2025.
    """
    corpus = open_corpus("spoofceleb", LAYOUT, root)
    folder = corpus.root
    wanted, parts = standard_split(split), []
    for part, name in PARTS.items():
        key = folder / "metadata" / f"{part}.csv"
        if wanted not in (None, name) or not key.exists():
            continue
        rows = read_headed(key, ("file", "speaker", "attack"))
        wrong = rows.filter(~pl.col("attack").fill_null("").str.contains(r"^a\d+$"))
        if len(wrong):
            line, attack = wrong[LINE][0], wrong["attack"][0]
            raise CorpusError(
                f"{str(key)!r}, line {line}: {attack!r} is no attack (a00, a01, ...); columns shifted?"
            )
        stem = pl.lit(f"{part}/") + pl.col("file").str.replace(r"\.[^./]*$", "")
        bona_fide = pl.col("attack") == "a00"
        parts.append(
            rows.select(
                stem.alias("utterance_id"),
                (pl.lit("flac/") + stem).alias("file"),
                pl.when(bona_fide).then(pl.lit(BONA_FIDE)).otherwise(pl.lit(SPOOF)).alias("label"),
                pl.when(bona_fide).then(None).otherwise(pl.col("attack")).alias("attack_id"),
                pl.col("speaker").alias("speaker_id"),
                pl.lit(name).alias("split"),
            )
        )
    if not parts:
        raise CorpusError(f"spoofceleb: no metadata of {split} lies in {str(folder / 'metadata')!r}")
    audio = [f"flac/{part}" for part, name in PARTS.items() if wanted in (None, name)]
    return corpus.reading(corpus.assemble(pl.concat(parts), split, audio))
