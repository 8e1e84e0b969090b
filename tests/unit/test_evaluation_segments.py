"""Rates over time agree with a loop over every moment."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from veravox.errors import EvaluationError
from veravox.evaluation import (
    bootstrap_interval,
    equal_error_rate,
    range_equal_error_rate,
    segment_equal_error_rate,
    with_windows,
)
from veravox.evaluation.auxiliary import Resampling, segment_estimates
from veravox.evaluation.metrics.segments import range_stretches, segment_stretches
from veravox.tables import Scores, Segments


def windows_of(rows):
    return pl.DataFrame(rows, schema=["utterance_id", "start_s", "end_s", "score"], orient="row")


def segments_of(rows):
    return Segments(pl.DataFrame(rows, schema=["utterance_id", "start_s", "end_s", "label"], orient="row"))


# Everything on a grid of tenths of a second, so that a loop over moments is exact.
UTTERANCE = st.tuples(
    st.lists(st.tuples(st.integers(1, 6), st.integers(-2, 2)), min_size=1, max_size=5),
    st.tuples(st.integers(0, 12), st.integers(1, 8)) | st.none(),
)


def tables(utterances):
    windows, segments = [], []
    for number, (pieces, fake) in enumerate(utterances):
        name, start = f"u{number}", 0
        for length, score in pieces:
            # Windows overlap their neighbour by a tenth of a second.
            windows.append((name, start / 10, (start + length + 1) / 10, float(score)))
            start += length
        end = start + 1
        segments.append((name, 0.0, end / 10, "bonafide"))
        if fake and fake[0] < end:
            segments.append((name, fake[0] / 10, min(end, sum(fake)) / 10, "spoof"))
    return windows_of(windows), segments_of(segments)


def moments(windows, segments):
    """(utterance, tenth, score, is spoof) of every covered tenth of a second."""
    for name in windows["utterance_id"].unique(maintain_order=True):
        own = windows.filter(pl.col("utterance_id") == name).rows()
        fakes = segments.frame.filter((pl.col("utterance_id") == name) & (pl.col("label") == "spoof")).rows()
        for tenth in range(200):
            middle = (tenth + 0.5) / 10
            covering = [score for _, start, end, score in own if start < middle < end]
            if covering:
                yield name, tenth, np.mean(covering), any(f[1] < middle < f[2] for f in fakes)


@given(st.lists(UTTERANCE, min_size=1, max_size=3))
@settings(max_examples=50)
def test_the_range_level_rate_counts_moments(utterances):
    windows, segments = tables(utterances)
    found = list(moments(windows, segments))
    bona_fide = [score for *_, score, fake in found if not fake]
    spoof = [score for *_, score, fake in found if fake]
    if bona_fide and spoof:
        assert range_equal_error_rate(windows, segments) == pytest.approx(equal_error_rate(bona_fide, spoof))


@given(st.lists(UTTERANCE, min_size=1, max_size=3), st.sampled_from([1, 2, 4]))
@settings(max_examples=50)
def test_a_segment_is_spoof_if_any_of_it_is_and_scored_by_its_mean(utterances, tenths):
    windows, segments = tables(utterances)
    cells = {}
    for name, tenth, score, fake in moments(windows, segments):
        cells.setdefault((name, tenth // tenths), []).append((score, fake))
    bona_fide = [np.mean([s for s, _ in cell]) for cell in cells.values() if not any(f for _, f in cell)]
    spoof = [np.mean([s for s, _ in cell]) for cell in cells.values() if any(f for _, f in cell)]
    if bona_fide and spoof:
        found = segment_equal_error_rate(windows, segments, tenths / 10)
        assert found == pytest.approx(equal_error_rate(bona_fide, spoof))


def test_a_short_fake_weighs_by_its_time_not_by_its_segments():
    windows = windows_of([("a", 0.0, 1.0, 1.0), ("a", 1.0, 1.5, -1.0), ("a", 1.5, 2.0, 1.0)])
    segments = segments_of([("a", 0.0, 2.0, "bonafide"), ("a", 1.0, 2.0, "spoof")])
    # Half of the spoofed second is passed; no bona fide is missed: the nearest point is (0 + 1/2) / 2.
    assert range_equal_error_rate(windows, segments) == pytest.approx(0.25)
    assert range_equal_error_rate(windows, segments, "interpolated") == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("windows", "segments", "message"),
    [
        ([("a", 0.0, 1.0, 1.0)], [("b", 0.0, 1.0, "spoof")], "1 utterances have segments but no window scores"),
        (
            [("a", 0.0, 1.0, 1.0), ("b", 0.0, 1.0, 1.0)],
            [("a", 0.0, 1.0, "spoof")],
            "have window scores but no segments .*'b'",
        ),
        ([("a", 1.0, 1.0, 1.0)], [("a", 0.0, 1.0, "spoof")], "empty or not finite, in 'a'"),
        ([("a", 0.0, 1.0, float("nan"))], [("a", 0.0, 1.0, "spoof")], "empty or not finite, in 'a'"),
        ([("a", 0.0, 1.0, 1.0)], [("a", 0.5, 1.5, "spoof")], "outside all of their windows, first 'a'"),
        ([("a", 0.0, 1.0, 1.0)], [("a", 0.0, 1.0, "spoof")], "no bona fide time"),
    ],
)
def test_tables_that_do_not_fit_are_refused(windows, segments, message):
    with pytest.raises(EvaluationError, match=message):
        range_equal_error_rate(windows_of(windows), segments_of(segments))


def test_an_impossible_resolution_is_refused():
    windows = windows_of([("a", 0.0, 1.0, 1.0)])
    with pytest.raises(EvaluationError, match="resolution"):
        segment_equal_error_rate(windows, segments_of([("a", 0.0, 1.0, "spoof")]), 0)


def test_windows_come_from_a_file_beside_the_scores(tmp_path):
    scores = Scores(pl.DataFrame({"utterance_id": ["007"], "score": [1.0]}))
    (tmp_path / "w.csv").write_text("utterance_id,start_s,end_s,score\n007,0,1,0.5\n")
    assert with_windows(scores, tmp_path / "w.csv").windows.rows() == [("007", 0.0, 1.0, 0.5)]
    (tmp_path / "w.csv").write_text("utterance_id,start_s\n007,0\n")
    with pytest.raises(EvaluationError, match="lacks the columns 'end_s', 'score'"):
        with_windows(scores, tmp_path / "w.csv")


@given(st.lists(st.tuples(UTTERANCE, st.integers(0, 3)), min_size=1, max_size=4))
@settings(max_examples=30)
def test_a_weighted_utterance_counts_as_its_copies(drawn):
    windows, segments = tables([utterance for utterance, _ in drawn])
    copies = tables([utterance for utterance, times in drawn for _ in range(times)])
    weights = np.array([times for _, times in drawn])
    for stretches in (range_stretches, lambda *both: segment_stretches(*both, 0.2)):
        try:
            repeated = stretches(*copies).points() if weights.sum() else None
        except EvaluationError:
            repeated = None
        if repeated is not None:
            weighted = stretches(windows, segments).points(weights)
            for form in ("nearest", "interpolated"):
                assert weighted.equal_error_rate(form) == pytest.approx(repeated.equal_error_rate(form))


def alike(utterances=24, pieces=40, shift=1.5):
    """Utterances, half of each fake, whose windows are all off by the same amount."""
    rng = np.random.default_rng(0)
    windows, segments = [], []
    for number in range(utterances):
        name, off = f"u{number}", rng.normal(0, shift)
        segments.append((name, pieces / 20, pieces / 10, "spoof"))
        for piece in range(pieces):
            score = off + rng.normal(0, 0.5) + (1 if piece < pieces / 2 else -1)
            windows.append((name, piece / 10, (piece + 1) / 10, score))
    return windows_of(windows), segments_of(segments)


def width(estimate):
    return estimate.high - estimate.low


def test_intervals_hold_the_rates_and_come_again_with_the_seed():
    windows, segments = alike()
    found, again, other = (segment_estimates(windows, segments, Resampling(100, 0.95, seed)) for seed in (1, 1, 2))
    assert found == again != other
    assert found["segment_eer"].value == segment_equal_error_rate(windows, segments)
    assert found["range_eer"].value == range_equal_error_rate(windows, segments)
    assert all(estimate.low < estimate.value < estimate.high for estimate in found.values())


def test_drawing_whole_utterances_widens_the_interval_when_their_windows_are_alike():
    windows, segments = alike()
    whole = segment_estimates(windows, segments, Resampling(200), resolution_s=0.1)
    middles = windows.with_columns(fake=pl.col("start_s") > 1.95)  # a segment is a window here
    spoof, bona_fide = (middles.filter(pl.col("fake") == kind)["score"].to_numpy() for kind in (True, False))
    alone = bootstrap_interval(bona_fide, spoof, rounds=200)
    assert width(whole["segment_eer"]) > 2 * (alone.high - alone.low)


def test_drawing_clusters_widens_the_interval_when_their_utterances_are_alike():
    windows, segments = alike(12)
    # Ten copies of each: utterances are plenty, sources are twelve.
    rows = [(f"{name}-{copy}", *rest) for name, *rest in windows.rows() for copy in range(10)]
    fakes = [(f"{name}-{copy}", *rest) for name, *rest in segments.frame.rows() for copy in range(10)]
    sources = {name: name.partition("-")[0] for name, *_ in fakes}
    many, labels = windows_of(rows), segments_of(fakes)
    by_utterance = segment_estimates(many, labels, Resampling(100))
    by_source = segment_estimates(many, labels, Resampling(100), sources)
    for name in by_source:
        assert width(by_source[name]) > 2 * width(by_utterance[name])


def test_what_cannot_be_resampled_is_refused():
    windows, segments = alike(3)
    with pytest.raises(EvaluationError, match="one cluster"):
        segment_estimates(windows, segments, Resampling(5), dict.fromkeys(["u0", "u1", "u2"], "all"))
    with pytest.raises(EvaluationError, match=r"1 utterances .* first 'u2'"):
        segment_estimates(windows, segments, Resampling(5), {"u0": "a", "u1": "b"})
