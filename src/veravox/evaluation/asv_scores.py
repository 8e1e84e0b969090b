"""Score files of speaker verification systems."""

from __future__ import annotations

import os
from collections.abc import Collection

import polars as pl

from veravox.errors import EvaluationError, first_few
from veravox.evaluation.metrics.tandem import AsvScores
from veravox.tables import Protocol
from veravox.tables.text_rows import read_rows

KINDS = ("nontarget", "spoof", "target")
PHASES = {"eval": "eval", "progress": "progress", "hidden": "hidden", "hidden_track": "hidden"}
"""Phases of a challenge as releases write them, to one spelling."""


def phases_of(protocol: Protocol) -> list[str] | None:
    """The phases that the trials of a protocol belong to, by `phase`, else by `split`; None if neither tells."""
    for column in ("phase", "split"):
        if column in protocol.frame.columns:
            values = protocol.frame[column].drop_nulls().unique().sort().to_list()
            return [PHASES.get(value, value) for value in values] or None
    return None


def read_asv_scores(path: str | os.PathLike[str], phases: Collection[str] | None = None) -> AsvScores:
    """Scores of a speaker verification system: a line a trial, with `target`, `nontarget` or `spoof`, score last.

    The files of ASVspoof 2019 (`bonafide target 7.98`) and 2021 (nine columns) have this form. Those of 2021 hold
    trials of every phase, and rates over all of them are not those of one.

    Args:
        path: the file.
        phases: take the trials of these alone, where a column tells the phase (`phases_of` a protocol).
    Raises:
        EvaluationError: if no column tells the kind of trial, a score is not a finite number, or the file holds
            several phases and none of them was chosen.
    """
    frame = read_rows(path)
    kind = next((name for name in frame.columns[:-1] if set(frame[name].unique()) <= set(KINDS)), None)
    if kind is None:
        raise EvaluationError(f"{str(path)!r}: no column holds only 'target', 'nontarget' and 'spoof'")
    scores = frame[frame.columns[-1]].cast(pl.Float64, strict=False)
    broken = (scores.is_null() | ~scores.is_finite().fill_null(False)).arg_true()
    if len(broken):
        raise EvaluationError(
            f"{str(path)!r}: lines {first_few((broken + 1).to_list())} do not end in a finite number"
        )
    frame = _of_phases(frame.with_columns(scores.alias("score")), path, phases)
    by_kind = {name: frame.filter(pl.col(kind) == name)["score"].to_numpy() for name in KINDS}
    missing = [name for name, values in by_kind.items() if not len(values)]
    if missing:
        raise EvaluationError(f"{str(path)!r} has no {first_few(missing)} trials")
    return AsvScores(by_kind["target"], by_kind["nontarget"], by_kind["spoof"])


def _of_phases(frame: pl.DataFrame, path: str | os.PathLike[str], phases: Collection[str] | None) -> pl.DataFrame:
    column = next((name for name in frame.columns if set(frame[name].unique()) <= set(PHASES)), None)
    if column is None:
        return frame
    phase = frame[column].replace(PHASES)
    present = phase.unique().sort().to_list()
    if len(present) == 1:
        return frame
    if not set(present) & set(phases or ()):
        raise EvaluationError(
            f"{str(path)!r} holds several phases in {column.replace('_', ' ')} ({', '.join(present)}), and the "
            "protocol names none of them; take the trials of one phase (split=eval), or remove the others"
        )
    return frame.filter(phase.is_in(list(phases or ())))
