"""A plain pair of folders: one of bona fide, one of spoof."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import CorpusFolder, PathLike, open_corpus
from veravox.corpora.reading.labelled_folders import holds_audio, label_folders
from veravox.corpora.reading.layout import Layout, existing
from veravox.corpora.reading.outcome import Reading
from veravox.errors import CorpusError
from veravox.tables import BONA_FIDE, SPOOF


def _recognise(root: Path) -> str | None:
    folders = [folder for folder in label_folders(root) if holds_audio(root / folder)]
    return "the folders " + " and ".join(map(repr, folders)) if len(folders) > 1 else None


LAYOUT = Layout(
    "a folder with one folder of bona fide and one of spoof, named for it (real and fake, bonafide and spoof, "
    "or alike), or such a pair in each of train, dev, eval",
    test=_recognise,
    rank=1,
)

PUBLISHED: tuple[Published, ...] = ()

EXAMPLE = Example(
    audio=("genuine/a.wav", "genuine/b/c.wav", "deepfake/a.mp3", "deepfake/b.wav"),
    trials={
        "genuine/a": {"label": "bonafide", "domain": "folder_pair"},
        "genuine/b/c": {"label": "bonafide"},
        "deepfake/a": {"label": "spoof", "path": "deepfake/a.mp3"},
        "deepfake/b": {"label": "spoof"},
    },
)


@CORPORA.register("folder_pair", LAYOUT, PUBLISHED, EXAMPLE)
def read(
    root: PathLike,
    split: str | None = None,
    bona_fide: str | None = None,
    spoof: str | None = None,
    domain: str = "folder_pair",
) -> Reading:
    """Every audio file of both folders, at any depth.

    Args:
        bona_fide: name of that folder below `root`, where it is not named for its label.
        spoof: the same for spoof.
        domain: what the trials' domain is called.
    """
    if (bona_fide is None) != (spoof is None):
        raise CorpusError("folder_pair: name both folders, bona_fide and spoof, or neither")
    if bona_fide is not None and spoof is not None:
        corpus = CorpusFolder("folder_pair", LAYOUT, existing(root))
        folder = corpus.root
        folders: dict[str, tuple[str | None, str]] = {bona_fide: (None, BONA_FIDE), spoof: (None, SPOOF)}
    else:
        corpus = open_corpus("folder_pair", LAYOUT, root)
        folder = corpus.root
        folders = label_folders(folder)
    parts = []
    for name, (part, label) in folders.items():
        if not (folder / name).is_dir():
            raise CorpusError(f"folder_pair: {str(folder / name)!r} is not a folder")
        parts.append(
            corpus.listed((name,)).with_columns(
                pl.lit(label).alias("label"), pl.lit(part, dtype=pl.String).alias("split")
            )
        )
    rows = pl.concat(parts)
    ending = pl.col("path").str.extract(r"(\.[^./]*)$").str.to_lowercase()
    same = pl.col("stem").is_duplicated()
    trials = rows.select(
        pl.when(same).then(pl.col("stem") + ending).otherwise("stem").alias("utterance_id"),
        "path",
        "label",
        "split",
        pl.lit(domain).alias("domain"),
    )
    return corpus.reading(corpus.assemble(trials, split))
