"""One file per dataset: its files in, a Protocol out.

A file `NAME.py` of this folder is a corpus: it registers `protocol(root, split) -> Protocol` under its own
name and holds `LAYOUT` (how its folder is recognised), `PUBLISHED` (the counts its makers print) and
`EXAMPLE` (a few real lines and paths that the contract tests unpack). What all of them share lies in the
rooms within: `reading` (files to rows), `checking` (leaks and audio problems), `mixing` (several into one).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from veravox.lazy import attach
from veravox.registry import Registry
from veravox.tables import Protocol

CORPORA: Registry[Protocol] = Registry(
    "corpus", "veravox.corpora", returns="Protocol", supplier="ROOT and --split"
)


class CorpusWarning(UserWarning):
    """What a reader of a corpus should know: missing or extra audio, a guessed layout, trials left out.

    Args:
        message: one line.
        kind: `missing`, `extra`, `guess`, `left out`, `label` or `name`.
        items: the files or trials concerned, all of them.
    """

    def __init__(self, message: str, kind: str, items: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message, self.kind, self.items = message, kind, tuple(items)


@dataclass(frozen=True)
class Published:
    """Counts that a corpus's makers print for one part of it.

    Args:
        where: the part, as column to value; `{}` is the whole.
        bonafide: trials of that label, if printed.
        spoof: the same for spoof.
        trials: all of them, where the labels are not printed apart.
    """

    where: Mapping[str, str]
    bonafide: int | None = None
    spoof: int | None = None
    trials: int | None = None


@dataclass(frozen=True)
class Example:
    """A corpus in miniature, which the contract tests unpack into a real folder with real audio.

    Args:
        files: relative path to content, as its makers write it.
        audio: relative paths of audio; the tests make a tiny recording of each.
        trials: every expected `utterance_id`, to some of its columns.
        companions: option name to the corpus whose own example is unpacked for it.
        options: further options of `protocol`.
        extra: audio that is there and is no trial.
        root: what is given as ROOT, relative to the folder.
    """

    trials: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    audio: Sequence[str] = ()
    companions: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    extra: Sequence[str] = ()
    root: str = ""


if TYPE_CHECKING:
    from veravox.corpora.checking.check import check as check
    from veravox.corpora.checking.findings import Report as Report
    from veravox.corpora.checking.scan import scan as scan
    from veravox.corpora.mixing.mix import make_mix as make_mix
    from veravox.corpora.mixing.spec import (
        Mix as Mix,
        named_mixes as named_mixes,
        read_mix as read_mix,
    )
    from veravox.corpora.partialspoof import read_segments as read_segments
    from veravox.corpora.reading.corpus import (
        Reading as Reading,
        read_corpus as read_corpus,
        recognise as recognise,
    )
else:
    defined_here = ("CORPORA", "CorpusWarning", "Example", "Published")
    __getattr__, __dir__, __all__ = attach(__name__, __file__, defined_here)
