"""Rates agree with their definitions, pair by pair and threshold by threshold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from veravox.errors import EvaluationError
from veravox.evaluation import (
    OperatingPoints,
    auc,
    decisions,
    equal_error_rate,
    equal_error_threshold,
    partial_auc,
)

# Few distinct values, so that ties within and across the classes are the rule.
TIED = st.lists(st.integers(-4, 4).map(lambda value: value / 2), min_size=1, max_size=12)
DISTINCT = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12)
SCORES = TIED | DISTINCT


def all_points(bona_fide, spoof):
    """(threshold, miss rate, false alarm rate) at every threshold, each by a pass over all scores."""
    thresholds = [*sorted(set(bona_fide) | set(spoof)), np.inf]
    return [
        (t, sum(s < t for s in bona_fide) / len(bona_fide), sum(s >= t for s in spoof) / len(spoof))
        for t in thresholds
    ]


@given(SCORES, SCORES)
def test_the_nearest_eer_is_the_mean_of_the_two_rates_where_they_are_nearest(bona_fide, spoof):
    scale = len(bona_fide) * len(spoof)
    nearest = min(all_points(bona_fide, spoof), key=lambda point: round(abs(point[1] - point[2]) * scale))
    assert equal_error_rate(bona_fide, spoof) == pytest.approx((nearest[1] + nearest[2]) / 2, abs=1e-12)
    found = decisions(bona_fide, spoof, equal_error_threshold(bona_fide, spoof))
    assert (found.miss_rate, found.false_alarm_rate) == pytest.approx(nearest[1:])


@given(SCORES, SCORES)
def test_the_interpolated_eer_lies_on_the_line_between_two_observed_points(bona_fide, spoof):
    points = all_points(bona_fide, spoof)
    crossings = set()
    for (_, miss, alarm), (_, next_miss, next_alarm) in itertools.pairwise(points):
        before, after = miss - alarm, next_miss - next_alarm
        if before <= 0 <= after and after > before:
            crossings.add(miss + (next_miss - miss) * -before / (after - before))
    rate = equal_error_rate(bona_fide, spoof, "interpolated")
    assert any(rate == pytest.approx(crossing, abs=1e-12) for crossing in crossings)


@given(SCORES, SCORES)
def test_the_auc_counts_the_pairs_that_are_in_order_with_ties_as_half(bona_fide, spoof):
    won = sum((b > s) + 0.5 * (b == s) for b in bona_fide for s in spoof)
    assert auc(bona_fide, spoof) == pytest.approx(won / (len(bona_fide) * len(spoof)), abs=1e-12)


@given(SCORES, SCORES, st.floats(0.01, 1))
def test_the_partial_auc_is_the_area_below_the_roc_up_to_the_limit(bona_fide, spoof, limit):
    points = all_points(bona_fide, spoof)[::-1]
    alarms, hits = [point[2] for point in points], [1 - point[1] for point in points]
    # The curve is straight between its corners, so the middle of each stretch gives its area exactly.
    corners = np.array(sorted({0.0, limit} | {x for x in alarms if x < limit}))
    heights = [height_of_roc(alarms, hits, x) for x in (corners[1:] + corners[:-1]) / 2]
    area = float(np.dot(heights, np.diff(corners)))
    assert partial_auc(bona_fide, spoof, limit) == pytest.approx(area / limit)


def height_of_roc(alarms, hits, x):
    right = np.searchsorted(alarms, x, side="left")
    if alarms[right] == x:
        return hits[right]
    share = (x - alarms[right - 1]) / (alarms[right] - alarms[right - 1])
    return hits[right - 1] + share * (hits[right] - hits[right - 1])


@given(SCORES, SCORES)
def test_the_whole_partial_auc_is_the_auc_in_both_forms(bona_fide, spoof):
    whole = auc(bona_fide, spoof)
    assert partial_auc(bona_fide, spoof, 1) == pytest.approx(whole)
    assert partial_auc(bona_fide, spoof, 1, standardised=True) == pytest.approx(whole)


def test_chance_is_one_half_in_the_standardised_partial_auc():
    assert partial_auc([0, 0], [0, 0], 0.1, standardised=True) == pytest.approx(0.5)
    assert partial_auc([0, 0], [0, 0], 0.1) == pytest.approx(0.05)


@given(SCORES, SCORES, st.sampled_from([-3, -0.5, 0, 0.25, 1.5]))
def test_decisions_count_each_trial_once(bona_fide, spoof, threshold):
    found = decisions(bona_fide, spoof, threshold)
    called_spoof = [s < threshold for s in spoof]
    called_bona_fide = [s >= threshold for s in bona_fide]
    assert found.tpr == pytest.approx(np.mean(called_spoof))
    assert found.tnr == pytest.approx(np.mean(called_bona_fide))
    assert found.balanced_accuracy == pytest.approx((found.tpr + found.tnr) / 2)
    hits, false = sum(called_spoof), len(bona_fide) - sum(called_bona_fide)
    precision = hits / (hits + false) if hits + false else 0
    recall = found.tpr
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
    assert found.f1 == pytest.approx(f1)


@given(TIED, TIED)
def test_a_rising_map_changes_no_rate(bona_fide, spoof):
    def stretched(scores):
        return [np.exp(score) for score in scores]

    for rate in (equal_error_rate, auc, partial_auc):
        assert rate(stretched(bona_fide), stretched(spoof)) == rate(bona_fide, spoof)


@given(SCORES, SCORES)
@settings(max_examples=50)
def test_the_reversed_sign_gives_the_complement_of_the_auc(bona_fide, spoof):
    reverse = auc([-score for score in bona_fide], [-score for score in spoof])
    assert reverse == pytest.approx(1 - auc(bona_fide, spoof))


def test_a_detector_that_scores_everything_the_same_has_an_eer_of_one_half():
    for form in ("nearest", "interpolated"):
        assert equal_error_rate([0.3] * 7, [0.3] * 5, form) == 0.5


def test_perfect_and_perfectly_wrong_scores_are_zero_and_one():
    assert (equal_error_rate([2, 3], [0, 1]), auc([2, 3], [0, 1])) == (0, 1)
    assert (equal_error_rate([0, 1], [2, 3]), auc([0, 1], [2, 3])) == (1, 0)


@pytest.mark.parametrize(
    ("bona_fide", "spoof", "message"),
    [
        ([], [1], "there are no bona fide trials"),
        ([1], [], "there are no spoof trials"),
        ([1, np.nan], [1], "bona fide score at position 1 is nan"),
        ([1], [np.inf], "spoof score at position 0 is inf"),
        ([[1, 2]], [1], "one array of numbers"),
        (["a"], [1], "are not numbers"),
    ],
)
def test_scores_without_a_rate_are_refused(bona_fide, spoof, message):
    with pytest.raises(EvaluationError, match=message):
        equal_error_rate(bona_fide, spoof)


def test_an_impossible_form_or_width_is_refused():
    with pytest.raises(EvaluationError, match="unknown form"):
        equal_error_rate([1], [0], "hull")  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match="must lie in"):
        partial_auc([1], [0], 0)
    with pytest.raises(EvaluationError, match="finite number"):
        decisions([1], [0], float("nan"))


def test_points_are_one_a_distinct_score_and_one_above_all():
    points = OperatingPoints.of([1, 1, 2], [0, 1])
    assert points.thresholds.tolist() == [0, 1, 2]
    assert points.misses.tolist() == [0, 0, 2, 3]
    assert points.false_alarms.tolist() == [2, 1, 0, 0]
    assert points.threshold(3) > 2
