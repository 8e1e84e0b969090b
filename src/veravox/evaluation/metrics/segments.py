"""Where in an utterance the spoof is: equal error rates over short segments and over time itself."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from veravox.errors import EvaluationError, first_few
from veravox.evaluation.metrics.rates import EerForm, Floats, OperatingPoints
from veravox.tables import SPOOF, WINDOW_SCHEMA, Scores, Segments, read_table

TICK_S = 1e-4
Ticks = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Pieces:
    """Stretches of time with one label and one score, all utterances on one line, shape (pieces,)."""

    start: Ticks  # since the beginning of the utterance
    length: Ticks
    utterance: NDArray[np.int64]
    score: Floats
    is_spoof: NDArray[np.bool_]


def with_windows(scores: Scores, path: str | os.PathLike[str]) -> Scores:
    """The scores with the scores of windows from a file.

    Raises:
        EvaluationError: if the file cannot be read, or lacks a column.
    """
    frame = read_table(path, EvaluationError)
    missing = [name for name in WINDOW_SCHEMA if name not in frame.columns]
    if missing:
        raise EvaluationError(f"{str(path)!r} lacks the columns {first_few(missing, 4)}")
    try:
        frame = frame.select(pl.col(name).cast(kind) for name, kind in WINDOW_SCHEMA.items())
    except pl.exceptions.PolarsError as error:
        raise EvaluationError(f"{str(path)!r} holds text where a number belongs") from error
    return Scores(scores.frame, scores.failures, frame, scores.name)


class Stretches:
    """Stretches of scored time sorted once; gives operating points for any weights of their utterances.

    Args:
        scores: shape (stretches,).
        is_bona_fide: shape (stretches,), booleans.
        sizes: how much each counts, shape (stretches,).
        utterance: position of the utterance of each in `names`, shape (stretches,).
        names: the utterances.
    """

    def __init__(
        self,
        scores: Floats,
        is_bona_fide: NDArray[np.bool_],
        sizes: Ticks,
        utterance: NDArray[np.int64],
        names: pl.Series,
    ) -> None:
        order = np.argsort(scores, kind="stable")
        self.names, self.utterance = names, utterance[order]
        self.ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
        self.thresholds = scores[order][self.ends]
        self.sizes = [(sizes * kind)[order] for kind in (is_bona_fide, ~is_bona_fide)]

    def points(self, weights: Ticks | None = None) -> OperatingPoints:
        """Operating points with each utterance counted as often as its weight says (once if None).

        Raises:
            EvaluationError: if a class is missing.
        """
        times = 1 if weights is None else weights[self.utterance]
        up, down = (np.append(0, np.cumsum(size * times)[self.ends]) for size in self.sizes)
        for total, name in ((up[-1], "bona fide"), (down[-1], "spoofed")):
            if not total:
                raise EvaluationError(f"no {name} time is labelled and scored; both classes are needed")
        return OperatingPoints(self.thresholds, up, down[-1] - down)


def range_points(windows: pl.DataFrame, segments: Segments, tolerance_s: float = 0.1) -> OperatingPoints:
    """Operating points of time itself: counts are tenths of a millisecond.

    The score at a moment is the mean of the windows that cover it; moments in a `spoof` segment are spoof, all
    other scored ones are bona fide.

    Raises:
        EvaluationError: if the two tables are not of the same utterances, or labelled spoof beyond `tolerance_s`
            lies outside all windows.
    """
    return range_stretches(windows, segments, tolerance_s).points()


def range_stretches(windows: pl.DataFrame, segments: Segments, tolerance_s: float = 0.1) -> Stretches:
    """What `range_points` counts, to resample by utterance."""
    pieces, names = _pieces(windows, segments, tolerance_s)
    return Stretches(pieces.score, ~pieces.is_spoof, pieces.length, pieces.utterance, names)


def segment_points(
    windows: pl.DataFrame, segments: Segments, resolution_s: float = 0.16, tolerance_s: float = 0.1
) -> OperatingPoints:
    """Operating points of segments of one length: spoof if any of it is, scored by the mean over its time.

    Raises:
        EvaluationError: as `range_points`, and for a resolution that is not positive.
    """
    return segment_stretches(windows, segments, resolution_s, tolerance_s).points()


def segment_stretches(
    windows: pl.DataFrame, segments: Segments, resolution_s: float = 0.16, tolerance_s: float = 0.1
) -> Stretches:
    """What `segment_points` counts, to resample by utterance."""
    if not TICK_S <= resolution_s < math.inf:
        raise EvaluationError(f"the resolution must be at least {TICK_S} s, and finite; got {resolution_s}")
    whole, names = _pieces(windows, segments, tolerance_s)
    pieces = _cut(whole, round(resolution_s / TICK_S))
    cell = pieces.start // round(resolution_s / TICK_S)
    keys, where = np.unique(pieces.utterance * (int(cell.max()) + 1) + cell, return_inverse=True)
    scores = np.bincount(where, pieces.length * pieces.score) / np.bincount(where, pieces.length)
    is_spoof = np.bincount(where, pieces.is_spoof) > 0
    utterance = keys // (int(cell.max()) + 1)
    return Stretches(scores, ~is_spoof, np.ones(len(scores), dtype=np.int64), utterance, names)


def range_equal_error_rate(windows: pl.DataFrame, segments: Segments, form: EerForm = "nearest") -> float:
    """Equal error rate in time: the share of bona fide time called spoof equals that of spoofed time passed.

    Pmiss(t) is the bona fide time scored below t over all bona fide time, Pfa(t) the spoofed time scored at or
    above it over all spoofed time; unlike the segment-level rate it does not depend on a resolution.

    Args:
        windows: `utterance_id`, `start_s`, `end_s`, `score`; higher is more bona fide. Windows may overlap.
        segments: what is spoof in each utterance; every utterance has at least one row.
        form: of the EER.
    Raises:
        EvaluationError: if the tables are not of the same utterances, or a class is missing.
    Source:
        Zhang, Wang, Cooper, Evans and Yamagishi, Range-based equal error rate for spoof localization, Interspeech
        2023, section 3.
    """
    return range_points(windows, segments).equal_error_rate(form)


def segment_equal_error_rate(
    windows: pl.DataFrame, segments: Segments, resolution_s: float = 0.16, form: EerForm = "nearest"
) -> float:
    """Equal error rate over segments of one length; a segment is spoof if any of it is.

    Args:
        windows: `utterance_id`, `start_s`, `end_s`, `score`; higher is more bona fide. Windows may overlap.
        segments: what is spoof in each utterance; every utterance has at least one row.
        resolution_s: length of a segment; published ones run from 0.02 to 0.64.
        form: of the EER.
    Raises:
        EvaluationError: if the tables are not of the same utterances, or a class is missing.
    Source:
        Zhang, Wang, Cooper, Evans and Yamagishi, The PartialSpoof database and countermeasures for the detection
        of short fake speech segments embedded in an utterance, IEEE/ACM TASLP 31, 2023, section 3.
    """
    return segment_points(windows, segments, resolution_s).equal_error_rate(form)


def _ticks(frame: pl.DataFrame, column: str) -> Ticks:
    return np.rint(frame[column].to_numpy() / TICK_S).astype(np.int64)


def _pieces(windows: pl.DataFrame, segments: Segments, tolerance_s: float) -> tuple[_Pieces, pl.Series]:
    missing = [name for name in WINDOW_SCHEMA if name not in windows.columns]
    if missing:
        raise EvaluationError(f"the window scores lack the columns {first_few(missing, 4)}")
    windows = windows.with_columns(pl.col("utterance_id").cast(pl.String))
    names = windows["utterance_id"].unique().sort()
    for table, other, what in (
        (segments.frame["utterance_id"], names, "have segments but no window scores"),
        (
            names,
            segments.frame["utterance_id"],
            "have window scores but no segments (a bona fide one needs one row)",
        ),
    ):
        alone = table.filter(~table.is_in(other.implode())).unique().sort()
        if len(alone):
            raise EvaluationError(f"{len(alone)} utterances {what}, first {first_few(alone)}")
    wrong = windows.filter(~(pl.col("end_s") > pl.col("start_s")) | ~pl.col("score").is_finite())
    if len(wrong):
        where = first_few(wrong["utterance_id"].unique(maintain_order=True))
        raise EvaluationError(f"windows that are empty or not finite, in {where}")
    place = pl.DataFrame({"utterance_id": names}).with_row_index("place")
    windows = windows.join(place, on="utterance_id", how="left", maintain_order="left")
    spoofed = segments.frame.filter(pl.col("label") == SPOOF)
    spoofed = spoofed.join(place, on="utterance_id", how="left", maintain_order="left")
    return _sweep(windows, spoofed, names, round(tolerance_s / TICK_S)), names


def _sweep(windows: pl.DataFrame, spoofed: pl.DataFrame, names: pl.Series, tolerance: int) -> _Pieces:
    """One pass over all borders in time, with all utterances laid end to end."""
    starts, ends = _ticks(windows, "start_s"), _ticks(windows, "end_s")
    spoof_starts, spoof_ends = _ticks(spoofed, "start_s"), _ticks(spoofed, "end_s")
    stride = int(max(ends.max(initial=0), spoof_ends.max(initial=0))) + 1
    offset = windows["place"].to_numpy().astype(np.int64) * stride
    spoof_offset = spoofed["place"].to_numpy().astype(np.int64) * stride
    starts, ends, spoof_starts, spoof_ends = (
        starts + offset,
        ends + offset,
        spoof_starts + spoof_offset,
        spoof_ends + spoof_offset,
    )
    borders = np.unique(np.concatenate((starts, ends, spoof_starts, spoof_ends)))
    length, pieces = np.diff(borders), len(borders) - 1
    first, last = np.searchsorted(borders, starts), np.searchsorted(borders, ends)
    window, piece = _runs(first, last)
    covering = np.bincount(piece, minlength=pieces)
    total = np.bincount(piece, windows["score"].to_numpy()[window], minlength=pieces)
    change = np.zeros(pieces + 1, dtype=np.int64)
    np.add.at(change, np.searchsorted(borders, spoof_starts), 1)
    np.add.at(change, np.searchsorted(borders, spoof_ends), -1)
    in_spoof = np.cumsum(change)[:-1] > 0
    lost = (covering == 0) & in_spoof
    lost_ticks = np.bincount(borders[:-1][lost] // stride, length[lost], minlength=len(names))
    if (lost_ticks > tolerance).any():
        beyond = names.gather(np.flatnonzero(lost_ticks > tolerance))
        raise EvaluationError(
            f"{len(beyond)} utterances have spoof segments outside all of their windows, first {first_few(beyond)}"
        )
    kept = covering > 0
    at = borders[:-1][kept]
    return _Pieces(at % stride, length[kept], at // stride, total[kept] / covering[kept], in_spoof[kept])


def _runs(first: Ticks, last: Ticks) -> tuple[Ticks, Ticks]:
    """Every whole number from `first` up to `last` of each row: the row, and the number."""
    counts = last - first
    row = np.repeat(np.arange(len(counts)), counts)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + first[row]


def _cut(pieces: _Pieces, step: int) -> _Pieces:
    """Pieces cut at every multiple of a step."""
    last = (pieces.start + pieces.length - 1) // step
    index, cell = _runs(pieces.start // step, last + 1)
    start = np.maximum(pieces.start[index], cell * step)
    end = np.minimum((pieces.start + pieces.length)[index], (cell + 1) * step)
    return _Pieces(start, end - start, pieces.utterance[index], pieces.score[index], pieces.is_spoof[index])
