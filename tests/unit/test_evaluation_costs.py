"""Detection and tandem costs agree with a loop over every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from veravox.errors import EvaluationError
from veravox.evaluation import (
    AsvRates,
    AsvScores,
    DetectionCost,
    JointCost,
    TandemCost,
    a_dcf,
    act_dcf,
    equal_error_rate,
    evaluate,
    min_dcf,
    min_tdcf,
    official_t_eer,
    read_asv_scores,
    read_external_scores,
    read_key,
    t_eer,
)

TIED = st.lists(st.integers(-4, 4).map(lambda value: value / 2), min_size=1, max_size=10)
COSTS = st.builds(
    DetectionCost, p_spoof=st.floats(0.01, 0.99), miss=st.floats(0.5, 5), false_alarm=st.floats(0.5, 20)
)


def rates(bona_fide, spoof):
    for t in [*sorted({*bona_fide, *spoof}), math.inf]:
        yield np.mean([s < t for s in bona_fide]), np.mean([s >= t for s in spoof])


@given(TIED, TIED, COSTS)
def test_min_dcf_is_the_cheapest_threshold(bona_fide, spoof, cost):
    miss, alarm = cost.miss * (1 - cost.p_spoof), cost.false_alarm * cost.p_spoof
    cheapest = min(miss * m + alarm * f for m, f in rates(bona_fide, spoof)) / min(miss, alarm)
    assert min_dcf(bona_fide, spoof, cost) == pytest.approx(cheapest)
    assert min_dcf(bona_fide, spoof, cost) <= 1 + 1e-12


@given(TIED, TIED, COSTS)
def test_act_dcf_is_the_cost_of_deciding_each_trial_by_its_posterior(bona_fide, spoof, cost):
    def called_bona_fide(ratio):
        odds = math.exp(ratio) * (1 - cost.p_spoof) / cost.p_spoof
        return odds * cost.miss >= cost.false_alarm * (1 - 1e-12)

    miss = cost.miss * (1 - cost.p_spoof) * np.mean([not called_bona_fide(s) for s in bona_fide])
    alarm = cost.false_alarm * cost.p_spoof * np.mean([called_bona_fide(s) for s in spoof])
    smaller = min(cost.miss * (1 - cost.p_spoof), cost.false_alarm * cost.p_spoof)
    assert act_dcf(bona_fide, spoof, cost) == pytest.approx((miss + alarm) / smaller)
    assert act_dcf(bona_fide, spoof, cost) >= min_dcf(bona_fide, spoof, cost) - 1e-12


def test_the_default_cost_weighs_a_miss_1_point_9_times_a_false_alarm():
    assert DetectionCost().weights == pytest.approx((1.9, 1))
    assert DetectionCost().threshold == pytest.approx(-math.log(1.9))


ASV = AsvRates(miss=0.05, false_alarm=0.04, spoof_accepted=0.6, threshold=0.0)


@given(TIED, TIED)
def test_both_forms_of_the_tandem_cost_follow_their_equations(bona_fide, spoof):
    target, non_target, spoofed = 0.9405, 0.0095, 0.05
    asv_alone = target * ASV.miss + non_target * 10 * ASV.false_alarm
    c1 = target * (1 - ASV.miss) - non_target * 10 * ASV.false_alarm
    c2 = 10 * spoofed * ASV.spoof_accepted
    points = list(rates(bona_fide, spoof))
    legacy = min(c1 * m + c2 * f for m, f in points) / min(c1, c2)
    constrained = min(asv_alone + (target - asv_alone) * m + c2 * f for m, f in points)
    constrained /= asv_alone + min(target - asv_alone, c2)
    assert min_tdcf(bona_fide, spoof, ASV) == pytest.approx(legacy)
    assert min_tdcf(bona_fide, spoof, ASV, form="constrained") == pytest.approx(constrained)


def test_a_perfect_countermeasure_leaves_only_what_the_asv_errs():
    assert min_tdcf([1], [0], ASV) == 0
    assert 0 < min_tdcf([1], [0], ASV, form="constrained") < 1


@given(TIED, TIED, TIED)
def test_asv_rates_are_counted_at_the_eer_threshold(target, non_target, spoof):
    found = AsvRates.at_eer(target, non_target, spoof)
    assert found.miss == pytest.approx(np.mean([s < found.threshold for s in target]))
    assert found.false_alarm == pytest.approx(np.mean([s >= found.threshold for s in non_target]))
    assert found.spoof_accepted == pytest.approx(np.mean([s >= found.threshold for s in spoof]))


def test_the_official_asv_rates_are_those_of_the_asvspoof_packages():
    """Their threshold is the last rejected score, which then is accepted."""
    target, non_target = [1.0, 2.0, 3.0, 4.0], [-1.0, 0.0, 2.5, 0.5]
    counted, official = (f(target, non_target, non_target) for f in (AsvRates.at_eer, AsvRates.at_official_eer))
    assert (counted.miss, counted.false_alarm) == (0.25, 0.25)
    assert (official.miss, official.false_alarm, official.spoof_accepted, official.threshold) == (0, 0.25, 0.25, 1)


def test_the_official_asv_rates_of_a_hundred_trials_each_are_those_that_the_package_gives():
    rng = np.random.default_rng(0)
    _, _, target, non_target, spoof = (rng.normal(*at, 100) for at in ((2, 1), (-1, 1.5), (3, 1), (-1, 1), (1, 1)))
    official = AsvRates.at_official_eer(target, non_target, spoof)
    assert (official.miss, official.false_alarm, official.spoof_accepted) == pytest.approx((0.02, 0.03, 0.62))
    assert AsvRates.at_eer(target, non_target, spoof).false_alarm == 0.02


@given(TIED, TIED, TIED)
def test_the_official_asv_rates_follow_the_packages_loop(target, non_target, spoof):
    trials = sorted([*((s, 0) for s in target), *((s, 1) for s in non_target)])  # of one score, targets first
    curve = [(0.0, 1.0, trials[0][0] - 0.001)]
    for index, (score, _) in enumerate(trials):
        rejected = [kind for _, kind in trials[: index + 1]]
        accepted = len(non_target) - rejected.count(1)
        curve.append((rejected.count(0) / len(target), accepted / len(non_target), score))
    threshold = min(curve, key=lambda point: abs(point[0] - point[1]))[2]  # the first of those that are nearest
    found = AsvRates.at_official_eer(target, non_target, spoof)
    assert found.threshold == threshold
    assert found.miss == pytest.approx(np.mean([s < threshold for s in target]))
    assert found.spoof_accepted == pytest.approx(np.mean([s >= threshold for s in spoof]))


def test_evaluate_holds_the_asv_where_it_is_told():
    rng = np.random.default_rng(1)
    scores, labels = rng.normal(size=60), [True, False] * 30
    asv = AsvScores(rng.normal(2, 1, 20), rng.normal(-1, 1, 20), rng.normal(1, 1, 20))
    found = {
        point: evaluate(scores, labels, metrics=["min_tdcf"], asv=asv, asv_point=point)
        for point in ("counted", "official")
    }
    bona_fide, spoof = scores[::2], scores[1::2]
    for point, rates_there in (("counted", asv.rates), ("official", asv.official_rates)):
        expected = min_tdcf(bona_fide, spoof, rates_there, form="constrained")
        assert found[point].min_tdcf == pytest.approx(expected)
        assert found[point].settings["asv_point"] == point
    with pytest.raises(EvaluationError, match="unknown operating point of the ASV 'eer'; use"):
        evaluate(scores, labels, asv=asv, asv_point="eer")


@given(TIED, TIED, TIED, TIED, TIED)
@settings(max_examples=60)
def test_the_tandem_eer_is_found_by_trying_every_pair_of_thresholds(bona_fide, spoof, target, non_target, spoofed):
    tried = []
    for u in [*sorted({*target, *non_target}), math.inf]:
        asv_miss = np.mean([s < u for s in target])
        asv_alarm = np.mean([s >= u for s in non_target])
        asv_spoof = np.mean([s >= u for s in spoofed])
        if asv_alarm < asv_miss:
            continue
        crossed = [
            (miss, alarm)
            for miss, alarm in rates(bona_fide, spoof)
            if asv_miss + (1 - asv_miss) * miss >= (1 - miss) * asv_alarm - 1e-9
        ]
        for miss, alarm in crossed:
            if miss == crossed[0][0]:
                others, fakes = (1 - miss) * asv_alarm, alarm * asv_spoof
                tried.append((abs(fakes - others), (asv_miss + (1 - asv_miss) * miss + others + fakes) / 3))
    nearest = min(gap for gap, _ in tried)
    found = t_eer(bona_fide, spoof, target, non_target, spoofed)
    assert any(found == pytest.approx(rate, abs=1e-9) for gap, rate in tried if gap <= nearest + 1e-9)


def test_a_perfect_tandem_has_no_error():
    assert t_eer([1, 2], [0], [1, 2], [0], [1]) == 0


def test_the_official_t_eer_is_that_of_the_asvspoof_5_package():
    """Values that the package's own code gave."""
    for seed, official, ours in ((0, 0.0780, 0.0773),):
        rng = np.random.default_rng(seed)
        five = [rng.normal(*at, 100) for at in ((2, 1), (-1, 1.5), (3, 1), (-1, 1), (1, 1))]
        assert official_t_eer(*five) == pytest.approx(official, abs=5e-5)
        assert t_eer(*five) == pytest.approx(ours, abs=5e-5)


@given(TIED, TIED, TIED, TIED, TIED)
@settings(max_examples=60)
def test_the_official_t_eer_follows_the_packages_loop(bona_fide, spoof, target, non_target, spoofed):
    def rejected(*kinds):
        order = [
            kind for _, kind in sorted((score, kind) for kind, scores in enumerate(kinds) for score in scores)
        ]
        return [[order[:end].count(kind) for kind in range(len(kinds))] for end in range(len(order) + 1)]

    counts = np.array(rejected(bona_fide, spoof))
    miss, alarm = counts[:, 0] / len(bona_fide), (len(spoof) - counts[:, 1]) / len(spoof)
    best, expected = math.inf, math.nan
    for targets, others, fakes in rejected(target, non_target, spoofed):
        asv_miss, accepted, passed = targets / len(target), 1 - others / len(non_target), 1 - fakes / len(spoofed)
        if not asv_miss < 0.5 * accepted + 0.5 * passed:
            continue
        total = miss + (1 - miss) * asv_miss - (0.5 * (1 - miss) * accepted + 0.5 * alarm * passed)
        place = np.argmin(np.abs(total))
        if not passed or miss[place] == 1:
            continue
        distance = abs(accepted / passed - alarm[place] / (1 - miss[place]))
        if distance < best:
            best, expected = distance, passed * alarm[place]
    found = official_t_eer(bona_fide, spoof, target, non_target, spoofed)
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True)


@given(TIED, TIED, TIED)
def test_a_dcf_is_the_cheapest_threshold_for_three_classes(target, non_target, spoof):
    cost = JointCost()
    thresholds = [*sorted({*target, *non_target, *spoof}), math.inf]
    cheapest = min(
        0.9 * np.mean([s < t for s in target])
        + 0.5 * np.mean([s >= t for s in non_target])
        + 1.0 * np.mean([s >= t for s in spoof])
        for t in thresholds
    )
    assert a_dcf(target, non_target, spoof, cost) == pytest.approx(cheapest / 0.9)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: DetectionCost(p_spoof=0),
        lambda: DetectionCost(miss=-1),
        lambda: TandemCost(p_target=0.99),
        lambda: JointCost(p_spoof=0.7, p_non_target=0.5),
        lambda: min_tdcf([1], [0], AsvRates(0.99, 0.9, 0.5, 0)),
        lambda: min_tdcf([1], [0], AsvRates(0.1, 0.1, 0.0, 0)),
        lambda: min_tdcf([1], [0], ASV, form="2019"),  # type: ignore[arg-type]
        lambda: t_eer([1], [0], [1], [], [1]),
    ],
)
def test_impossible_costs_are_refused(wrong):
    with pytest.raises(EvaluationError):
        wrong()


def test_published_costs_come_out_to_every_printed_digit(material):
    key = read_key(material / "asvspoof2019/ASVspoof2019.LA.cm.eval.trl.txt")
    asv = read_asv_scores(material / "asvspoof2019/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt")
    assert f"{asv.eer:.4%}" == "2.4578%"
    printed = {
        "RawGAT_ST_mul.LA19eval": ("higher-is-bonafide", None, "1.0601%", "0.0335"),
        "moef_LA19eval": ("higher-is-bonafide", 3, "0.74802%", "0.021260"),
        "ocsoftmax.LA19eval": ("higher-is-spoof", None, "2.178%", None),
    }
    for system, (polarity, column, eer, tdcf) in printed.items():
        path = material / f"scores/{system}.scores.txt"
        joined = read_external_scores(path, polarity, score_column=column).align(key)
        is_bona_fide = (joined["label"] == "bonafide").to_numpy()
        scores = joined["score"].to_numpy()
        digits = len(eer.partition(".")[2]) - 1
        assert f"{equal_error_rate(scores[is_bona_fide], scores[~is_bona_fide]):.{digits}%}" == eer
        if tdcf:
            found = min_tdcf(scores[is_bona_fide], scores[~is_bona_fide], asv.rates)
            assert f"{found:.{len(tdcf) - 2}f}" == tdcf
