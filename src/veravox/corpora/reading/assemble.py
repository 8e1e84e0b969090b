"""Rows of a corpus to its Protocol: splits, audio found on disk, companions, sampling."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from veravox.corpora import CORPORA
from veravox.corpora.reading.layout import Layout
from veravox.corpora.reading.listing import Listing, list_audio
from veravox.corpora.reading.outcome import Reading, Remark, items_of
from veravox.errors import CorpusError, first_few, suggest
from veravox.tables import BONA_FIDE, PROTOCOL_COLUMNS, Protocol

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(("dev", "development", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("eval", "evaluation", "test", "testing"), "eval"),
}
"""Names of splits in the wild to the three of this project."""

PathLike = str | os.PathLike[str]


def standard_split(split: str | None) -> str | None:
    """`train`, `dev` or `eval` for any known name of a split.

    Raises:
        CorpusError: for an unknown one.
    """
    if split is None:
        return None
    try:
        return SPLIT_NAMES[split.strip().lower()]
    except KeyError:
        raise CorpusError(f"unknown split {split!r}; {suggest(split, SPLIT_NAMES)}") from None


def keep_split(trials: pl.DataFrame, split: str | None, name: str) -> pl.DataFrame:
    """Only the trials of a split; all of them for None.

    Raises:
        CorpusError: if the corpus has no such split, naming those it has.
    """
    wanted = standard_split(split)
    if wanted is None:
        return trials
    known = sorted(trials["split"].drop_nulls().unique()) if "split" in trials.columns else []
    if not known:
        raise CorpusError(
            f"{name} has no published splits; leave the split out, then divide it with 'veravox protocol mix'"
        )
    if wanted not in known:
        raise CorpusError(f"{name} has no split {wanted!r} here; found: {', '.join(known)}")
    return trials.filter(pl.col("split") == wanted)


def undecodable_names(root: Path, paths: pl.Series) -> dict[str, str]:
    """Paths whose `\\xNN` stands for a byte that is not UTF-8, to the name on disk."""
    found = {}
    for text in paths.filter(paths.str.contains(r"\\x[0-9a-f]{2}")):
        raw = re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes.fromhex(byte[1].decode()), os.fsencode(text))
        name = os.fsdecode(raw)
        if not (root / text).exists() and (root / name).exists():
            found[text] = name
    return found


def _folders_of(files: pl.Series) -> list[str]:
    return files.str.extract(r"^(.*)/[^/]*$", 1).fill_null("").unique().sort().to_list()


def hash_order(ids: pl.Series, seed: int) -> pl.Series:
    """A number per id, from the id and the seed alone: sort by it to shuffle, the same everywhere."""
    digest = hashlib.sha256
    numbers = [int.from_bytes(digest(f"{seed}:{value}".encode()).digest()[:8], "big") for value in ids]
    return pl.Series("order", numbers, dtype=pl.UInt64)


def sample(trials: pl.DataFrame, count: int | None, seed: int) -> pl.DataFrame:
    """`count` trials drawn by the hash of their id, sorted by id: everyone gets the same list.

    Raises:
        CorpusError: if there are fewer.
    """
    trials = trials.sort("utterance_id")
    if count is None:
        return trials
    if not 0 < count <= len(trials):
        raise CorpusError(f"cannot draw {count} trials; there are {len(trials)}")
    order = hash_order(trials["utterance_id"], seed)
    return trials.with_columns(order).bottom_k(count, by="order").drop("order").sort("utterance_id")


def with_companions(trials: pl.DataFrame, bona_fide: pl.DataFrame | None) -> pl.DataFrame:
    """Spoof rows and their companions' rows as one table."""
    return trials if bona_fide is None else pl.concat([trials, bona_fide], how="diagonal")


class CorpusFolder:
    """A corpus's folder while it is read: finds its audio, and gathers what its reader should know.

    Args:
        name: of the corpus; becomes `domain` where rows have none.
        layout: of the corpus.
        root: its folder.
    """

    def __init__(self, name: str, layout: Layout, root: Path) -> None:
        self.name, self.layout, self.root = name, layout, root
        self.remarks: list[Remark] = []

    def remark(self, message: str, kind: str, items: Sequence[str] = ()) -> None:
        """Note what the reader of the corpus should know; see `Remark`."""
        self.remarks.append(Remark(message, kind, tuple(items)))

    def reading(self, protocol: Protocol) -> Reading:
        """The protocol with everything that was noted on the way."""
        return Reading(
            corpus=self.name,
            root=self.root,
            protocol=protocol,
            remarks=tuple(self.remarks),
            missing=items_of(self.remarks, "missing"),
            extra=items_of(self.remarks, "extra"),
            notes=[remark.message for remark in self.remarks],
        )

    def assemble(
        self,
        trials: pl.DataFrame,
        split: str | None = None,
        audio: Sequence[str] | None = None,
        ending: str = ".flac",
        guess: str | None = None,
    ) -> Protocol:
        """The Protocol of a corpus whose trials are known from a key, or from a listing.

        Args:
            trials: `utterance_id`, `label`, and either `file` (where the audio should lie: relative, without its
                ending) or `path` (where it does lie).
            split: keep only this one.
            audio: folders in which to look for `file`; those named in `file` if None.
            ending: of files that are not found.
            guess: which parts of the layout are a guess; the layout's own if None.
        """
        guess = self.layout.guess if guess is None else guess
        if guess:
            self.remark(f"{self.name}: parts of this layout are a guess: {guess}", "guess")
        trials = keep_split(trials, split, self.name)
        if not len(trials):
            raise CorpusError(
                f"{self.name}: no trial was found below {str(self.root)!r}, which must be {self.layout.expects}"
            )
        undecodable: dict[str, str] = {}
        if "path" not in trials.columns:
            folders = audio if audio is not None else _folders_of(trials["file"])
            listing = list_audio(self.root, folders)
            undecodable = listing.undecodable
            trials = self.locate_audio(trials, listing, ending)
        else:
            undecodable = undecodable_names(self.root, trials["path"])
        if "domain" not in trials.columns:
            trials = trials.with_columns(pl.lit(self.name).alias("domain"))
        first = [column for column in PROTOCOL_COLUMNS if column in trials.columns]
        rest = [
            column for column in trials.columns if column not in first and column not in ("file", "line_number")
        ]
        try:
            return Protocol(trials.select(first + rest), self.name, self.root, undecodable)
        except Exception as error:
            raise CorpusError(f"{self.name}, read from {str(self.root)!r}: {error}") from error

    def locate_audio(self, trials: pl.DataFrame, listing: Listing, ending: str) -> pl.DataFrame:
        """`file` to `path`: the audio on disk with that name, in any case and with any ending.

        What is missing keeps the path where it should lie, and is remarked on; so is audio that is no trial.
        """
        key = pl.col("file").str.to_lowercase()
        there = listing.frame.select(
            pl.col("stem").str.to_lowercase().alias("key"), pl.col("stem").alias("exact"), "path"
        )
        exact = there.select(pl.col("exact").alias("file"), pl.col("path").alias("found"))
        exact = exact.unique("file", keep="first", maintain_order=True)
        trials = trials.join(exact, on="file", how="left", maintain_order="left")
        if trials["found"].null_count():
            loose = there.select("key", pl.col("path").alias("loose")).unique(
                "key", keep="first", maintain_order=True
            )
            trials = trials.with_columns(key.alias("key"))
            trials = trials.join(loose, on="key", how="left", maintain_order="left")
            trials = trials.with_columns(pl.coalesce("found", "loose").alias("found")).drop("key", "loose")
        missing = trials.filter(pl.col("found").is_null())
        if len(missing):
            lost = (missing["file"] + ending).to_list()
            message = (
                f"{self.name}: {len(lost)} of {len(trials)} trials have no audio file, first {first_few(lost)}"
            )
            self.remark(message, "missing", lost)
        used = trials.select(pl.col("found").alias("path")).drop_nulls()
        extra = listing.frame.join(used, on="path", how="anti")["path"].to_list()
        if extra:
            self.remark(
                f"{self.name}: {len(extra)} audio files are not trials, first {first_few(extra)}", "extra", extra
            )
        path = pl.coalesce("found", pl.col("file") + ending).alias("path")
        return trials.with_columns(path).drop("found")

    def listed(self, folders: Sequence[str] = ("",)) -> pl.DataFrame:
        """A folder's audio as rows (`path`, `stem`); links that lead nowhere are remarked on."""
        listing = list_audio(self.root, folders)
        if listing.broken:
            broken = listing.broken
            message = f"{self.name}: {len(broken)} links lead to no audio file, first {first_few(broken)}"
            self.remark(message, "missing", broken)
        if listing.undecodable:
            odd = list(listing.undecodable)
            self.remark(
                f"{self.name}: {len(odd)} file names are not UTF-8; rename them, first {first_few(odd)}",
                "name",
                odd,
            )
        return listing.frame

    def matched(self, pattern: str, folders: Sequence[str] = ("",)) -> pl.DataFrame:
        """A folder's audio whose path fits a pattern; the rest is remarked on as no trials.

        Args:
            pattern: regular expression for the path without its ending; its named groups become columns.
            folders: in which to look.
        Returns:
            The groups, `path`, and `utterance_id`: the path without its ending, or with it where two files of one
            folder differ in nothing else (`file1.mp3` and `file1.wav` of Fake-or-Real).
        """
        files = self.listed(folders)
        groups = files["stem"].str.extract_groups(pattern).struct.unnest()
        fits = files["stem"].str.contains(pattern)
        extra = files.filter(~fits)["path"].to_list()
        if extra:
            self.remark(
                f"{self.name}: {len(extra)} audio files are not trials, first {first_few(extra)}", "extra", extra
            )
        repeats = pl.col("stem").is_duplicated()
        ending = pl.col("path").str.extract(r"(\.[^./]*)$").str.to_lowercase()
        ids = files.select(
            pl.when(repeats).then(pl.col("stem") + ending).otherwise("stem").alias("utterance_id"), "path"
        )
        return pl.concat([ids, groups], how="horizontal").filter(fits)

    def companions(
        self, roots: Mapping[str, str | None], trials: int | None = None, seed: int = 0
    ) -> pl.DataFrame | None:
        """Bona fide trials of other corpora that this one is paired with; None if no root is given.

        Args:
            roots: name of each companion corpus, to its folder (or None).
            trials: how many to draw over all of them; None takes every one.
            seed: of the draw.
        Returns:
            Rows whose `path` is absolute, whose id begins with the companion's name, and whose `source_id` is it.
        """
        parts = []
        for name, folder in roots.items():
            if folder is None:
                continue
            reading = CORPORA[name](folder, None)
            self.remarks += reading.remarks
            frame = reading.protocol.frame.filter(pl.col("label") == BONA_FIDE)
            base = str(Path(folder).resolve())
            parts.append(
                frame.with_columns(
                    (pl.lit(f"{name}/") + pl.col("utterance_id")).alias("utterance_id"),
                    (pl.lit(f"{base}/") + pl.col("path")).alias("path"),
                    pl.lit(name).alias("source_id"),
                    pl.lit(self.name).alias("domain"),
                ).drop("split", strict=False)
            )
        if not parts:
            names = " or ".join(roots)
            self.remark(
                f"{self.name}: every trial here is spoof; give its bona fide companion as {names}", "label"
            )
            return None
        return sample(pl.concat(parts, how="diagonal"), trials, seed)


def open_corpus(name: str, layout: Layout, root: PathLike) -> CorpusFolder:
    """The folder of a corpus, once it is seen to hold it.

    Raises:
        CorpusError: if it does not; where a folder one or two levels away does, that one is offered.
    """
    return CorpusFolder(name, layout, layout.locate(root, name))
