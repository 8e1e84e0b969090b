"""Which audio files lie under a folder; nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from veravox.audio.find import AUDIO_SUFFIXES
from veravox.tables import table_text


@dataclass
class Listing:
    """Audio files below a folder.

    Args:
        frame: `path` (relative, with `/`) and `stem` (the same without its ending).
        broken: links that lead nowhere, relative.
        undecodable: table text of a name that is not UTF-8, to the name itself.
    """

    frame: pl.DataFrame
    broken: list[str] = field(default_factory=list)
    undecodable: dict[str, str] = field(default_factory=dict)


def list_audio(root: str | os.PathLike[str], folders: Sequence[str] = ("",)) -> Listing:
    """All audio files of some folders below `root`, sorted by path.

    Endings count in any case; hidden files (`._x.wav` of macOS among them) do not count; links are followed,
    a loop of links once. Folders that are named apart are listed each, also where links make them one.

    Args:
        root: where relative folders start.
        folders: relative to `root`, or absolute; what lies below an absolute one has an absolute path.
    """
    found: list[str] = []
    broken: list[str] = []
    walked: set[str] = set()
    for folder in dict.fromkeys(folders):
        if os.path.isdir(os.path.join(root, folder)):
            _walk(os.fspath(root), folder.rstrip("/") or folder[:1], found, broken, walked)
    undecodable: dict[str, str] = {}
    for index, path in enumerate(found):
        if not path.isascii():
            text = table_text(path)
            if text != path:
                undecodable[text] = path
                found[index] = text
    frame = pl.DataFrame({"path": pl.Series("path", found, dtype=pl.String).sort()})
    frame = frame.with_columns(pl.col("path").str.replace(r"\.[^./]*$", "").alias("stem"))
    return Listing(frame, sorted(broken), undecodable)


def _walk(root: str, folder: str, found: list[str], broken: list[str], walked: set[str]) -> None:
    parts = folder.split("/") if folder else []
    seen: set[tuple[int, int]] = set()
    for depth in range(len(parts)):
        above = os.stat(os.path.join(root, "/".join(parts[:depth]) or folder[: folder.startswith("/")]))
        seen.add((above.st_dev, above.st_ino))  # a link up to here is a loop
    pending = [folder]
    while pending:
        here = pending.pop()
        full = os.path.join(root, here)
        status = os.stat(full)
        if here in walked or (status.st_dev, status.st_ino) in seen:
            continue
        walked.add(here)
        seen.add((status.st_dev, status.st_ino))
        prefix = f"{here.rstrip('/')}/" if here else ""
        with os.scandir(full) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                audio = f".{name.rpartition('.')[2].lower()}" in AUDIO_SUFFIXES
                if audio and entry.is_file():
                    found.append(prefix + name)
                elif entry.is_dir():
                    pending.append(prefix + name)
                elif audio and entry.is_symlink():
                    broken.append(prefix + name)


def is_audio_name(name: str) -> bool:
    """Whether a file's ending, in any case, is one of audio (or of video with sound)."""
    return os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES


def first_match(root: Path, patterns: Iterable[str]) -> Path | None:
    """The first existing path among patterns relative to `root`; of several matches of one, the first by name."""
    for pattern in patterns:
        if not any(character in pattern for character in "*?["):
            if (root / pattern).exists():
                return root / pattern
            continue
        matches = sorted(path for path in root.glob(pattern) if not path.name.startswith("._"))
        if matches:
            return matches[0]
    return None
