"""Read a corpus by its name, or find out which one a folder holds, and compare with what is published."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from veravox.corpora import CORPORA, Published
from veravox.corpora.reading.layout import existing, level_in_words, nearby
from veravox.corpora.reading.outcome import Count, Reading
from veravox.errors import CorpusError, first_few
from veravox.registry import Spec
from veravox.tables import BONA_FIDE, SPOOF, Protocol


def recognise(root: str | os.PathLike[str]) -> tuple[str, str]:
    """Which corpus a folder holds, and by what that is seen.

    Raises:
        CorpusError: if it holds none, or several; a folder a level or two away that holds one is offered.
    """
    folder = existing(root)
    found = _matches(folder)
    if not found:
        raise CorpusError(_unrecognised(folder))
    best = max(rank for rank, _, _ in found)
    top = [(name, reason) for rank, name, reason in found if rank == best]
    if len(top) > 1:
        names = ", ".join(f"{name} (by {reason})" for name, reason in top)
        raise CorpusError(f"{str(folder)!r} holds several corpora: {names}; name the one you want instead of auto")
    return top[0]


def _matches(folder: Path) -> list[tuple[int, str, str]]:
    found = []
    for name in CORPORA.names():
        layout = CORPORA.facts(name).layout
        reason = layout.recognise(folder) if folder.is_dir() or layout.test else None
        if reason:
            found.append((layout.rank, name, reason))
    return found


def _unrecognised(folder: Path) -> str:
    offers = nearby(folder, lambda path: path.is_dir() and _matches(path))
    if not offers:
        return (
            f"{str(folder)!r} is not laid out as any known corpus; name one of: {', '.join(CORPORA.names())}; "
            "or use 'folder_pair' or 'table' for your own"
        )
    named = [
        f"{str(path)!r} ({max(_matches(path))[1]}; the given folder is {level_in_words(level)})"
        for level, path in offers
    ]
    return f"{str(folder)!r} is no known corpus; use {', or '.join(named[:5])}"


def read_corpus(
    name: str, root: str | os.PathLike[str], split: str | None = None, options: Mapping[str, Any] | None = None
) -> Reading:
    """Read a corpus as downloaded.

    Args:
        name: of a corpus, or `auto`.
        root: its folder.
        split: `train`, `dev` or `eval`; all if None.
        options: further arguments of that corpus: companions, sampling, seeds.
    Raises:
        CorpusError: if the folder is not that corpus, or its files are not as they must be.
        ConfigurationError: for an unknown corpus or option.
    """
    if name == "auto":
        name, reason = recognise(root)
    else:
        spec = Spec(name, dict(options or {}))
        CORPORA.check(spec, ("root", "split"))
        reason = CORPORA.facts(name).layout.recognise(existing(root)) or "its name, as given"
    reading = CORPORA.build(Spec(name, dict(options or {})), root=root, split=split)
    whole = split is None and not any(remark.kind == "left out" for remark in reading.remarks)
    counts, absent = compare(reading.protocol, CORPORA.facts(name).published, whole)
    return replace(reading, root=Path(root), recognised_by=reason, counts=counts, absent=absent if whole else [])


def compare(
    protocol: Protocol, published: Iterable[Published], whole: bool = True
) -> tuple[list[Count], list[str]]:
    """Trials found beside those published, and the published parts of which nothing is here.

    Companions (rows of another `source_id` with an absolute path) do not count.

    Args:
        whole: whether every trial is here, so that the whole can be compared.
    """
    frame, counts, absent = protocol.frame, [], []
    if "path" in frame.columns:
        frame = frame.filter(~pl.col("path").fill_null("").str.starts_with("/"))
    for part in published:
        name = ", ".join(f"{column} {value}" for column, value in part.where.items()) or "all"
        if not part.where and not whole:
            continue
        rows = frame
        for column, value in part.where.items():
            rows = rows.filter(pl.col(column) == value) if column in rows.columns else rows.clear()
        if not len(rows):
            absent.append(name)
            continue
        labels = rows["label"]
        for kind, expected, found in (
            (BONA_FIDE, part.bonafide, int((labels == BONA_FIDE).sum())),
            (SPOOF, part.spoof, int((labels == SPOOF).sum())),
            ("trials", part.trials, len(rows)),
        ):
            if expected is not None:
                counts.append(Count(name, kind, found, expected))
    return counts, absent


def describe_difference(count: Count, reading: Reading) -> str:
    """One difference in words, with what is missing or extra where that is known."""
    fewer = f"{-count.difference} fewer" if count.difference < 0 else f"{count.difference} more"
    text = f"{count.part}: {count.found} {count.kind}, published {count.published}: {fewer}"
    if count.difference < 0 and reading.extra:
        text += f"; audio without a trial: {first_few(reading.extra)}"
    elif count.difference < 0 and reading.missing:
        text += f"; missing audio: {first_few(reading.missing)}"
    return text


__all__ = ["Count", "Reading", "compare", "describe_difference", "read_corpus", "recognise"]
