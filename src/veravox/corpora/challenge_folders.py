"""Challenge-style folders: one folder per source of bona fide, one per generator of spoof."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA, Example, Published
from veravox.corpora.reading.assemble import CorpusFolder, PathLike, open_corpus
from veravox.corpora.reading.labelled_folders import holds_audio, holds_folders, label_folders
from veravox.corpora.reading.layout import Layout, existing
from veravox.corpora.reading.outcome import Reading
from veravox.errors import CorpusError, first_few, suggest
from veravox.tables import BONA_FIDE, SPOOF


def _recognise(root: Path) -> str | None:
    folders = list(label_folders(root))
    deep = [folder for folder in folders if holds_folders(root / folder) and not holds_audio(root / folder)]
    if not deep or any(holds_audio(root / folder) for folder in folders):
        return None
    return "folders of sources below " + " and ".join(map(repr, deep))


LAYOUT = Layout(
    "a folder with <label>/<source or generator>/..., <label> being real and fake, bonafide and spoof, or alike",
    test=_recognise,
    rank=2,
)

PUBLISHED: tuple[Published, ...] = ()

EXAMPLE = Example(
    audio=(
        "real/audiobooks/a.wav",
        "real/phone/x/a.mp3",
        "generated/elevenlabs/a.wav",
        "generated/zonos/a.wav",
    ),
    options={"bona_fide": ["real"], "spoof": ["generated"]},
    trials={
        "real/audiobooks/a": {"label": "bonafide", "source_id": "audiobooks", "attack_id": None},
        "real/phone/x/a": {"label": "bonafide", "source_id": "phone"},
        "generated/elevenlabs/a": {"label": "spoof", "attack_id": "elevenlabs", "source_id": None},
        "generated/zonos/a": {"label": "spoof", "attack_id": "zonos"},
    },
)


@CORPORA.register("challenge_folders", LAYOUT, PUBLISHED, EXAMPLE)
def read(
    root: PathLike,
    split: str | None = None,
    bona_fide: list[str] | None = None,
    spoof: list[str] | None = None,
    domain: str = "challenge",
) -> Reading:
    """Every audio file below a source's or generator's folder.

    Args:
        bona_fide: top folders that are bona fide: either one that holds the sources, or the sources themselves.
        spoof: the same for spoof. Without both, folders named for labels are looked for.
        domain: what the trials' domain is called.
    """
    if bona_fide is None and spoof is None:
        corpus = open_corpus("challenge_folders", LAYOUT, root)
        folder = corpus.root
        folders = label_folders(folder)
    else:
        corpus = CorpusFolder("challenge_folders", LAYOUT, existing(root))
        folder = corpus.root
        folders = _named(folder, bona_fide or [], spoof or [])
    parts = []
    for name, (part, label) in folders.items():
        depth = r"(?:(?P<group>[^/]+)/)?(?:.+/)?[^/]+$"
        rows = corpus.matched("^" + _escape(name) + "/" + depth, (name,))
        group = pl.coalesce("group", pl.lit(name.rsplit("/", 1)[-1]))
        parts.append(
            rows.select(
                "utterance_id",
                "path",
                pl.lit(label).alias("label"),
                (group if label == SPOOF else pl.lit(None, dtype=pl.String)).alias("attack_id"),
                (group if label == BONA_FIDE else pl.lit(None, dtype=pl.String)).alias("source_id"),
                pl.lit(part, dtype=pl.String).alias("split"),
                pl.lit(domain).alias("domain"),
            )
        )
    return corpus.reading(corpus.assemble(pl.concat(parts), split))


def _named(folder: Path, bona_fide: list[str], spoof: list[str]) -> dict[str, tuple[str | None, str]]:
    there = sorted(path.name for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    named = [*bona_fide, *spoof]
    for name in named:
        if name not in there:
            raise CorpusError(f"challenge_folders: {str(folder)!r} has no folder {name!r}; {suggest(name, there)}")
    rest = [name for name in there if name not in named]
    if bona_fide and spoof and rest:
        raise CorpusError(f"challenge_folders: say of {first_few(rest)} whether they are bona_fide or spoof")
    other = SPOOF if bona_fide else BONA_FIDE
    labels = dict.fromkeys(bona_fide, BONA_FIDE) | dict.fromkeys(spoof, SPOOF)
    return {name: (None, labels.get(name, other)) for name in there}


def _escape(text: str) -> str:
    return "".join(
        character if character.isalnum() or character in "_/" else f"\\{character}" for character in text
    )
