"""What reading a corpus gives: its protocol, and what its reader should know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from veravox.tables import Protocol


@dataclass(frozen=True)
class Remark:
    """What a reader of a corpus should know: missing or extra audio, a guessed layout, trials left out.

    Args:
        message: one line.
        kind: `missing`, `extra`, `guess`, `left out`, `label` or `name`.
        items: the files or trials concerned, all of them.
    """

    message: str
    kind: str
    items: tuple[str, ...] = ()


def items_of(remarks: Iterable[Remark], kind: str) -> list[str]:
    """The items of all remarks of a kind, each once."""
    return list(dict.fromkeys(item for remark in remarks if remark.kind == kind for item in remark.items))


@dataclass(frozen=True)
class Count:
    """How many trials of one part were found, and how many are published.

    Args:
        part: in words.
        kind: `bonafide`, `spoof` or `trials`.
    """

    part: str
    kind: str
    found: int
    published: int

    @property
    def difference(self) -> int:
        """Found minus published."""
        return self.found - self.published


@dataclass(frozen=True)
class Reading:
    """A corpus as read: its protocol, and everything its reader should know.

    Args:
        corpus: its name.
        root: its folder.
        protocol: its trials.
        remarks: what was noticed while reading, in order.
        recognised_by: what gave the layout away.
        missing: audio of trials that is not there.
        extra: audio that is no trial.
        notes: remarks in words (a guessed layout, trials left out, no bona fide trials).
        counts: trials found beside those published, of the parts that are here.
        absent: published parts of which nothing is here.
    """

    corpus: str
    root: Path
    protocol: Protocol
    remarks: tuple[Remark, ...] = ()
    recognised_by: str = "its name, as given"
    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)

    @property
    def differences(self) -> list[Count]:
        """The counts that are not the published ones."""
        return [count for count in self.counts if count.difference]

    def without_missing(self) -> Reading:
        """The same with the trials left out whose audio is missing; the list of them stays."""
        gone = pl.Series("path", self.missing, dtype=pl.String)
        frame = self.protocol.frame.join(gone.to_frame(), on="path", how="anti")
        return replace(self, protocol=self.protocol.with_frame(frame))

    def for_keys_only(self) -> Reading:
        """The same for whoever needs the keys alone: missing audio is not spoken of."""
        kept = [note for note in self.notes if "have no audio file" not in note]
        return replace(self, missing=[], notes=kept)
