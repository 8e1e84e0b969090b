"""What a check found: findings by kind, faults apart from remarks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

KINDS: dict[str, str] = {
    "schema": "the table is not a protocol",
    "label-conflict": "one sound under both labels",
    "unreadable": "audio that cannot be read, or is not there",
    "silent": "audio without a sound",
    "short": "audio that is suspiciously short",
    "duplicate": "one sound twice in a set",
    "audio": "one sound in two sets",
    "near-duplicate": "nearly one sound in two sets",
    "utterance": "one trial in two sets",
    "pair": "a copy and its original in two sets",
    "speaker": "a speaker in two sets",
    "text": "a text in two sets",
    "source": "a source in two sets",
    "generator": "a generator in two sets",
    "near-copy": "nearly one sound twice in a set",
    "one-sided": "a property that tells the labels apart",
    "balance": "labels out of balance",
    "unknown": "cells that a check would need",
}
"""Every kind of finding. Those of `REMARKS` do not make a check fail."""

REMARKS = frozenset({"short", "near-copy", "one-sided", "balance", "unknown"})


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Args:
        kind: of `KINDS`.
        message: one line.
        items: the trials, files or values concerned, all of them.
        sets: the two sets that share them, of a leak.
    """

    kind: str
    message: str
    items: Sequence[str] = ()
    sets: Sequence[str] = ()

    @property
    def fault(self) -> bool:
        """Whether it makes the check fail."""
        return self.kind not in REMARKS


@dataclass(frozen=True)
class Report:
    """All that was found, and what was looked at.

    Args:
        sets: per set its figures: `set`, `trials`, `bonafide`, `spoof`, `unlabelled`, `speakers`, `duration_s`.
        findings: in the order of `KINDS`.
        audio: whether audio was opened.
    """

    sets: Sequence[Mapping[str, Any]]
    findings: Sequence[Finding] = field(default_factory=list)
    audio: bool = False

    def faults(self, allow: Collection[str] = ()) -> list[Finding]:
        """The findings that make the check fail, but for the kinds that are allowed."""
        return [finding for finding in self.findings if finding.fault and finding.kind not in allow]

    def of(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    def to_dict(self, allow: Collection[str] = ()) -> dict[str, Any]:
        """As plain data."""
        return {
            "schema": 1,
            "ok": not self.faults(allow),
            "audio": self.audio,
            "sets": [dict(item) for item in self.sets],
            "findings": [
                {
                    "kind": finding.kind,
                    "fault": finding.fault and finding.kind not in allow,
                    "message": finding.message,
                    "sets": list(finding.sets),
                    "items": list(finding.items),
                }
                for finding in self.findings
            ],
        }
