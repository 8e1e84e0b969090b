"""Every error that veravox raises on purpose: one line that names the thing and the remedy."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class VeravoxError(Exception):
    """Root of all errors that are the input's fault, not the program's."""


class AudioError(VeravoxError):
    """A recording that cannot be read, or holds nothing that can be judged."""


class ProtocolError(VeravoxError):
    """A protocol whose rows or columns are not what they must be."""


class CorpusError(VeravoxError):
    """A dataset folder that is not laid out as its publisher lays it out."""


class ConfigurationError(VeravoxError):
    """An unknown name, option or value in a specification."""


class CheckpointError(VeravoxError):
    """A checkpoint that is incomplete, damaged, or of another version."""


class ScoringError(VeravoxError):
    """Scores that are missing, doubled or not finite."""


class EvaluationError(VeravoxError):
    """Scores and labels from which the asked figure cannot be computed."""


class TrainingError(VeravoxError):
    """A training run that may not start, or cannot go on."""


class AugmentationError(VeravoxError):
    """A transform that failed; never replaced by the untouched audio."""


class OutputError(VeravoxError):
    """A result that could not be written whole."""


class MissingDependencyError(VeravoxError):
    """An optional package that is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it.

    Raises:
        MissingDependencyError: if the module is absent.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingDependencyError(
            f"this needs {package!r}, which is not installed; run: pip install 'veravox[{extra}]'"
        ) from error


def suggest(word: str, known: Iterable[str]) -> str:
    """The tail of an error about an unknown word: the nearest known one, else all of them."""
    choices = sorted(known)
    nearest = difflib.get_close_matches(str(word), choices, n=1, cutoff=0.6)
    if nearest:
        return f"did you mean {nearest[0]!r}?"
    return "known: " + ", ".join(choices) if choices else "none are known"


def first_few(names: Iterable[object], count: int = 3) -> str:
    """Up to `count` names for an error message, then how many more there are."""
    listed = [str(name) for name in names]
    more = f" and {len(listed) - count} more" if len(listed) > count else ""
    return ", ".join(repr(name) for name in listed[:count]) + more
