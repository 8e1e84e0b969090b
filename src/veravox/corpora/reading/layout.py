"""How a dataset's folder is recognised, and what is said when another folder is given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from veravox.errors import CorpusError, first_few

MANY_FOLDERS = 200


@dataclass(frozen=True)
class Marker:
    """A path that must be there, as a pattern relative to ROOT.

    Args:
        pattern: like `*/meta.csv`; `*` stands for one name or a part of it.
        first_line: regular expression that the file's first line must match.
    """

    pattern: str
    first_line: str = ""

    def found(self, root: Path) -> str | None:
        """What was found, in words; None if it is not there."""
        if not any(character in self.pattern for character in "*?["):
            candidates: Iterator[Path] = iter([root / self.pattern] if (root / self.pattern).exists() else [])
        else:
            candidates = root.glob(self.pattern)
        for path in candidates:
            if path.name.startswith("._"):
                continue
            if not self.first_line:
                return repr(path.relative_to(root).as_posix())
            line = first_line(path)
            if line is not None and re.search(self.first_line, line):
                return f"{path.relative_to(root).as_posix()!r}, which begins {line[:60]!r}"
        return None


def first_line(path: Path) -> str | None:
    """The first line of a text file; None where there is none to read."""
    try:
        with path.open("rb") as file:
            return file.readline(4096).decode("utf-8-sig", "replace").rstrip("\r\n")
    except OSError:
        return None


@dataclass(frozen=True)
class Layout:
    """How a corpus lies on disk.

    Args:
        alternatives: each a set of markers that must all be there; one set is enough.
        test: instead of markers, a function of ROOT that says what it found, or None.
        expects: what ROOT must hold, in words.
        guess: which part of the layout nobody has confirmed, in words; empty if all of it is known.
        rank: among several layouts that match, the highest is meant.
    """

    expects: str
    alternatives: tuple[tuple[Marker, ...], ...] = ()
    test: Callable[[Path], str | None] | None = None
    guess: str = ""
    rank: int = 10

    def recognise(self, root: Path) -> str | None:
        """By what this folder is this corpus, in words; None if it is not."""
        if self.test is not None:
            return self.test(root)
        for markers in self.alternatives:
            found = [marker.found(root) for marker in markers]
            if found and all(found):
                return " and ".join(filter(None, found))
        return None

    def locate(self, root: str | os.PathLike[str], name: str) -> Path:
        """`root` as a path, once it is seen to hold this corpus.

        Raises:
            CorpusError: if it does not; where a folder one or two levels away does, that one is offered.
        """
        folder = existing(root)
        if folder.is_dir() and (self.recognise(folder) or not (self.alternatives or self.test)):
            return folder
        raise CorpusError(_wrong_root(folder, name, self))


def existing(root: str | os.PathLike[str]) -> Path:
    """`root` as a path.

    Raises:
        CorpusError: if nothing is there.
    """
    folder = Path(root)
    try:
        if not folder.exists():
            raise CorpusError(f"{str(folder)!r} does not exist")
        if folder.is_dir():
            with os.scandir(folder) as entries:
                next(entries, None)
    except OSError as error:
        raise CorpusError(f"{str(folder)!r} cannot be opened: {error.strerror}") from error
    return folder


def nearby(root: Path, test: Callable[[Path], object]) -> list[tuple[int, Path]]:
    """Folders one or two levels above (negative) or below (positive) `root` that pass a test, nearest first."""
    found: list[tuple[int, Path]] = []
    above = root.absolute()
    for level in (-1, -2):
        above = above.parent
        if above != above.parent and test(above):
            found.append((level, above))
            break
    if root.is_dir():
        children = _folders(root)
        below = [child for child in children if test(child)]
        found += [(1, child) for child in below]
        if not below:
            found += [(2, grand) for child in children for grand in _folders(child) if test(grand)]
    return sorted(found, key=lambda item: (abs(item[0]), str(item[1])))


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    except OSError:
        return []
    return [folder / name for name in names[:MANY_FOLDERS]]


def level_in_words(level: int) -> str:
    """`one level too high`: what is wrong with a root whose right folder lies `level` levels below."""
    count = {1: "one level", 2: "two levels"}[abs(level)]
    return f"{count} too {'high' if level > 0 else 'low'}"


def _wrong_root(folder: Path, name: str, layout: Layout) -> str:
    offers = nearby(folder, layout.recognise)
    if offers:
        level, right = offers[0]
        others = [str(path) for _, path in offers[1:]]
        more = f" (or {first_few(others)})" if others else ""
        return f"{str(folder)!r} is {level_in_words(level)} for {name}; use {str(right)!r}{more}"
    if not folder.is_dir():
        return f"{str(folder)!r} is not a folder; {name} is read from {layout.expects}"
    with os.scandir(folder) as entries:
        inside = sorted(entry.name for entry in entries if entry.name[0] != ".")
    holds = f"it holds {first_few(inside, 5)}" if inside else "it is empty"
    return f"{str(folder)!r} is not laid out as {name}, which is {layout.expects}; {holds}"
