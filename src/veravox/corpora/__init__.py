"""One file per dataset: its files in, a `Reading` with its Protocol out.

A file `NAME.py` of this folder is a corpus: it registers `read(root, split) -> Reading` under its own name, with a
layout (how its folder is recognised), the counts that its makers print, and an example (a few real lines and paths
that the contract tests unpack). What all corpora share lies in the rooms within: `reading` (files to rows),
`checking` (leaks and audio problems), `mixing` (several into one).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from veravox.lazy import attach
from veravox.registry import Registry


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


@dataclass(frozen=True)
class CorpusFacts:
    """What a corpus states beside its reading function.

    Args:
        layout: how its folder is recognised.
        published: the counts that its makers print.
        example: the corpus in miniature.
    """

    layout: Layout
    published: tuple[Published, ...]
    example: Example


class CorpusRegistry(Registry["Reading"]):
    """Names to reading functions `read(root, split, ...) -> Reading`, each with its facts."""

    def __init__(self) -> None:
        super().__init__("corpus", "veravox.corpora", returns="Reading", supplier="ROOT and --split")
        self._facts: dict[str, CorpusFacts] = {}

    def register(  # type: ignore[override]  # a corpus comes with its facts
        self, name: str, layout: Layout, published: tuple[Published, ...], example: Example
    ) -> Callable[[Any], Any]:
        """Decorator: enter a reading function and what is known of its corpus.

        Raises:
            ConfigurationError: if it is no function that returns a `Reading`.
        """
        enter = super().register(name)

        def enter_with_facts(entry: Any) -> Any:
            self._facts[name] = CorpusFacts(layout, published, example)
            return enter(entry)

        return enter_with_facts

    def facts(self, name: str) -> CorpusFacts:
        """Layout, published counts and example of a corpus.

        Raises:
            ConfigurationError: for an unknown one.
        """
        assert self[name] is not None
        return self._facts[name]


CORPORA = CorpusRegistry()

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
    from veravox.corpora.reading.corpus import read_corpus as read_corpus, recognise as recognise
    from veravox.corpora.reading.layout import Layout
    from veravox.corpora.reading.outcome import Reading as Reading
else:
    defined_here = ("CORPORA", "CorpusFacts", "Example", "Published")
    __getattr__, __dir__, __all__ = attach(__name__, __file__, defined_here)
