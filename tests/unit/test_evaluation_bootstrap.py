"""Resampling draws what it says it draws, and its intervals hold the truth as often as they claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from veravox.errors import EvaluationError
from veravox.evaluation import Interval, OperatingPoints, bootstrap_interval, compare, mcnemar
from veravox.evaluation.metrics.bootstrap import SortedTrials, draws

TRIALS = st.lists(st.tuples(st.integers(-3, 3), st.booleans(), st.integers(0, 3)), min_size=2, max_size=20)


@given(TRIALS)
def test_points_under_weights_are_those_of_the_repeated_trials(trials):
    scores = np.array([float(score) for score, _, _ in trials])
    is_bona_fide = np.array([label for _, label, _ in trials])
    weights = np.array([weight for _, _, weight in trials])
    repeated, labels = np.repeat(scores, weights), np.repeat(is_bona_fide, weights)
    if labels.all() or not labels.any():
        return
    ours = SortedTrials(scores, is_bona_fide).points(weights)
    plain = OperatingPoints.of(repeated[labels], repeated[~labels])
    for form in ("nearest", "interpolated"):
        assert ours.equal_error_rate(form) == pytest.approx(plain.equal_error_rate(form), abs=1e-12)
    assert ours.auc() == pytest.approx(plain.auc(), abs=1e-12)
    assert ours.partial_auc(0.3) == pytest.approx(plain.partial_auc(0.3), abs=1e-12)
    assert (ours.bona_fide, ours.spoof) == (plain.bona_fide, plain.spoof)


def test_members_leave_the_others_out():
    scores, labels = np.array([3.0, 1.0, 2.0, 9.0]), np.array([True, False, True, False])
    points = SortedTrials(scores, labels, np.array([0, 1, 2])).points()
    assert (points.bona_fide, points.spoof, points.equal_error_rate()) == (2, 1, 0)


def test_without_clusters_each_class_keeps_its_size():
    is_bona_fide = np.array([True] * 3 + [False] * 7)
    drawn = list(draws(20, is_bona_fide))
    assert all(weights[:3].sum() == 3 and weights[3:].sum() == 7 for weights in drawn)
    assert len({tuple(weights) for weights in drawn}) > 10


def test_a_cluster_is_drawn_as_a_whole_and_every_round_has_both_classes():
    is_bona_fide = np.array([True, True, True, False, False, False, False])
    clusters = ["a", "a", "b", "c", "c", "d", "d"]
    for weights in draws(50, is_bona_fide, clusters):
        assert weights[0] == weights[1]
        assert weights[3] == weights[4]
        assert weights[:3].sum() > 0 < weights[3:].sum()
        assert weights[0] + weights[2] == 2


def test_the_same_seed_draws_the_same_rounds():
    is_bona_fide = np.arange(10) < 4
    first, again, other = (
        [weights.tolist() for weights in draws(3, is_bona_fide, seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_intervals_hold_the_true_rate_about_as_often_as_they_say():
    rng = np.random.default_rng(3)
    truth, held = 0.158655, 0  # normal scores two deviations apart
    for repeat in range(60):
        interval = bootstrap_interval(rng.normal(2, 1, 150), rng.normal(0, 1, 150), rounds=150, seed=repeat)
        held += interval.low <= truth <= interval.high
    assert held >= 50


def test_resampling_speakers_widens_the_interval_when_speakers_differ():
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(12), 40)
    shift = rng.normal(0, 1.5, 12)[speakers]
    bona_fide, spoof = rng.normal(2, 0.5, 480) + shift, rng.normal(0, 0.5, 480) + shift
    trials = bootstrap_interval(bona_fide, spoof, rounds=200)
    clustered = bootstrap_interval(bona_fide, spoof, rounds=200, clusters=np.concatenate((speakers, speakers)))
    assert clustered.high - clustered.low > 2 * (trials.high - trials.low)


def test_a_single_cluster_cannot_be_resampled():
    with pytest.raises(EvaluationError, match="single cluster"):
        next(draws(1, np.array([True, False]), ["a", "a"]))


def test_a_class_that_is_missing_is_named():
    with pytest.raises(EvaluationError, match="no spoofed trials"):
        SortedTrials(np.array([1.0]), np.array([True]))


def test_the_interval_is_the_percentiles():
    found = Interval.of(range(101), 0.9)
    assert (found.low, found.high) == pytest.approx((5, 95))


def pairs(gap, trials=400, seed=0):
    rng = np.random.default_rng(seed)
    is_bona_fide = np.arange(2 * trials) < trials
    shared = np.where(is_bona_fide, 1.0, -1.0) + rng.normal(0, 1, 2 * trials)
    better = shared + gap * np.where(is_bona_fide, 1, -1)
    return better, shared, is_bona_fide


def test_a_clear_difference_is_told_in_one_sentence():
    better, shared, is_bona_fide = pairs(0.5)
    found = compare(better, shared, is_bona_fide, ("ours", "theirs"), rounds=200)
    assert found.interval.high < 0
    assert found.p_value < 0.05
    assert found.conclusion.startswith("ours has a better EER than theirs by ")
    assert "more than chance explains" in found.conclusion
    reverse = compare(shared, better, is_bona_fide, ("theirs", "ours"), rounds=200)
    assert reverse.difference == -found.difference
    assert reverse.conclusion.startswith("ours has a better EER than theirs by ")


def test_noise_is_not_called_a_difference():
    rng = np.random.default_rng(1)
    _, shared, is_bona_fide = pairs(0)
    other = shared + rng.normal(0, 0.05, shared.size)
    found = compare(other, shared, is_bona_fide, rounds=200)
    assert "do not tell it from chance" in found.conclusion or found.difference == 0
    same = compare(shared, shared, is_bona_fide, rounds=50)
    assert (same.difference, same.p_value, same.mcnemar.p_value) == (0, 1, 1)
    assert "have the same EER" in same.conclusion


def test_a_higher_auc_is_better():
    better, shared, is_bona_fide = pairs(0.5)
    found = compare(
        better,
        shared,
        is_bona_fide,
        ("ours", "theirs"),
        OperatingPoints.auc,
        "AUC",
        lower_is_better=False,
        rounds=100,
    )
    assert found.conclusion.startswith("ours has a better AUC")


def test_mcnemar_is_the_exact_binomial_test_on_the_discordant_trials():
    first = np.array([True] * 8 + [False] * 2 + [True] * 5)
    second = np.array([False] * 8 + [True] * 2 + [True] * 5)
    found = mcnemar(first, second)
    assert (found.only_first_right, found.only_second_right) == (8, 2)
    # Two-sided: P(X <= 2 or X >= 8) for ten fair coins.
    assert found.p_value == pytest.approx(2 * (1 + 10 + 45) / 1024)
