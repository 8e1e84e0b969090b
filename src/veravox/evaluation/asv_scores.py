"""Score files of speaker verification systems."""

from __future__ import annotations

import os

import polars as pl

from veravox.errors import EvaluationError, first_few
from veravox.evaluation.metrics.tandem import AsvScores
from veravox.tables.text_rows import read_rows


def read_asv_scores(path: str | os.PathLike[str]) -> AsvScores:
    """Scores of a speaker verification system: a line a trial, with `target`, `nontarget` or `spoof`, score last.

    The files of ASVspoof 2019 (`bonafide target 7.98`) and 2021 (nine columns) have this form.

    Raises:
        EvaluationError: if no column tells the kind of trial, or a score is not a finite number.
    """
    frame = read_rows(path)
    kinds = {"target", "nontarget", "spoof"}
    found = [name for name in frame.columns[:-1] if set(frame[name].unique()) <= kinds]
    if not found:
        raise EvaluationError(f"{str(path)!r}: no column holds only 'target', 'nontarget' and 'spoof'")
    scores = frame[frame.columns[-1]].cast(pl.Float64, strict=False)
    broken = (scores.is_null() | ~scores.is_finite().fill_null(False)).arg_true()
    if len(broken):
        raise EvaluationError(
            f"{str(path)!r}: lines {first_few((broken + 1).to_list())} do not end in a finite number"
        )
    by_kind = {kind: scores.filter(frame[found[0]] == kind).to_numpy() for kind in sorted(kinds)}
    missing = [kind for kind, values in by_kind.items() if not len(values)]
    if missing:
        raise EvaluationError(f"{str(path)!r} has no {first_few(missing)} trials")
    return AsvScores(by_kind["target"], by_kind["nontarget"], by_kind["spoof"])
