"""Calibration finds the ratios that were hidden, and its thresholds keep their promise."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import scipy.optimize
from hypothesis import given, settings, strategies as st
from scipy.optimize import minimize

from veravox.errors import EvaluationError, ProtocolError
from veravox.evaluation import (
    calibration_error,
    cllr,
    fit_affine,
    fit_calibration,
    fit_fusion,
    min_cllr,
)
from veravox.evaluation.metrics import likelihood
from veravox.tables import Protocol, Scores

TIED = st.lists(st.integers(-4, 4).map(lambda value: value / 2), min_size=1, max_size=10)


def gaussians(trials=4000, seed=0):
    """Scores whose log-likelihood ratio is known: normal, apart by d, so that llr = d x for centres at +-d/2."""
    rng = np.random.default_rng(seed)
    return rng.normal(1, 1, trials), rng.normal(-1, 1, 3 * trials)


@pytest.mark.parametrize("prior", [0.5, 0.05])
def test_the_fit_undoes_a_scale_and_an_offset(prior):
    bona_fide, spoof = gaussians(40_000)
    scale, offset = fit_affine(3 * bona_fide + 5, 3 * spoof + 5, prior)
    assert (scale, offset) == pytest.approx((2 / 3, -10 / 3), rel=0.03)


def test_the_fit_is_the_minimum_that_a_search_without_slopes_finds():
    bona_fide, spoof = gaussians(60)

    def loss(parameters):
        scale, offset = parameters
        shift = math.log(0.8 / 0.2)
        up = sum(math.log1p(math.exp(-(scale * x + offset + shift))) for x in bona_fide) / len(bona_fide)
        down = sum(math.log1p(math.exp(scale * x + offset + shift)) for x in spoof) / len(spoof)
        return 0.8 * up + 0.2 * down

    found = minimize(loss, [1, 0], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    assert fit_affine(bona_fide, spoof, prior=0.2) == pytest.approx(found.x, abs=1e-5)


def test_classes_that_do_not_overlap_get_a_finite_scale_that_grows_with_the_evidence():
    few, _ = fit_affine([1, 2], [-1, 0])
    many, _ = fit_affine([1, 2] * 1000, [-1, 0] * 1000)
    assert 0 < few < many < 100


def test_reversed_scores_are_not_calibrated_into_order():
    bona_fide, spoof = gaussians(200)
    with pytest.raises(EvaluationError, match="check the polarity"):
        fit_affine(spoof, bona_fide)


@pytest.mark.parametrize("below", [0.01, 0.1])
def test_at_most_the_promised_share_of_bona_fide_falls_below_the_lower_threshold(below):
    bona_fide, spoof = gaussians(700)
    logits = np.concatenate((bona_fide, spoof))
    labels = ["genuine"] * len(bona_fide) + ["fake"] * len(spoof)
    found = fit_calibration(logits, labels, policy="sliding", fitted_on="dev", max_bona_fide_below=below)
    ratios = found.scale * bona_fide + found.offset
    assert np.mean(ratios < found.lower) <= below < np.mean(ratios < np.nextafter(found.lower, np.inf)) + 1 / 700
    assert np.mean(found.scale * spoof + found.offset >= found.upper) <= 0.05
    assert (found.policy, found.fitted_on, found.prior) == ("sliding", "dev", 0.5)
    assert "at most 5.00% of the spoof" in found.rule


@given(TIED, TIED, st.sampled_from([0.01, 0.3]), st.sampled_from([0.05, 0.5]))
def test_thresholds_hold_their_rule_on_any_scores(bona_fide, spoof, below, above):
    logits = np.array(bona_fide + spoof)
    labels = np.array([True] * len(bona_fide) + [False] * len(spoof))
    try:
        found = fit_calibration(logits, labels, max_bona_fide_below=below, max_spoof_above=above)
    except EvaluationError:
        assert np.mean(bona_fide) <= np.mean(spoof) + 1e-9
        return
    ratios = found.scale * logits + found.offset
    assert found.lower <= found.upper
    assert np.mean(ratios[labels] < found.lower) <= below
    assert np.mean(ratios[~labels] >= found.upper) <= above


def test_classes_that_touch_in_one_score_are_calibrated_like_those_that_just_come_apart():
    touching, apart = fit_affine([1.0, 2, 3], [-1.0, 0, 1]), fit_affine([1.0, 2, 3], [-1.0, 0, 0.999])
    assert touching == pytest.approx(apart, rel=0.01)
    with pytest.raises(EvaluationError, match="do not score higher"):
        fit_affine([1.0, 1.0], [1.0])


@pytest.mark.parametrize("share", [-0.01, 1.0, float("nan")])
def test_a_share_of_trials_that_cannot_be_is_refused(share):
    with pytest.raises(EvaluationError, match="is one percent"):
        fit_calibration([1.0, 0.0], ["real", "fake"], max_bona_fide_below=share)


def test_systems_that_only_together_part_the_classes_keep_finite_weights():
    rng = np.random.default_rng(0)
    labels = np.arange(200) < 100
    common, own = rng.normal(0, 3, 200), np.where(labels, 1, -1) + rng.uniform(-0.5, 0.5, 200)
    ids = [str(index) for index in range(200)]
    systems = [Scores(pl.DataFrame({"utterance_id": ids, "score": own + s * common})) for s in (1, -1)]
    table = pl.DataFrame({"utterance_id": ids, "label": np.where(labels, "bonafide", "spoof").tolist()})
    fused = fit_fusion(systems, Protocol(table))
    alone, _ = fit_affine(own[labels], own[~labels])
    assert sum(fused.weights) == pytest.approx(alone, rel=0.1)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([1, 0], EvaluationError, "labels are numbers"),
        (["real", "humane"], ProtocolError, "unknown label 'humane'"),
        (["real"], EvaluationError, "one length"),
        (["real", "real"], EvaluationError, "no spoof trials"),
    ],
)
def test_labels_that_could_mean_either_class_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        fit_calibration([1.0, 2.0], labels)


@given(TIED, TIED)
def test_cllr_is_its_definition(bona_fide, spoof):
    up = np.mean([math.log2(1 + math.exp(-s)) for s in bona_fide])
    down = np.mean([math.log2(1 + math.exp(s)) for s in spoof])
    assert cllr(bona_fide, spoof) == pytest.approx((up + down) / 2)


def pooled(bona_fide, spoof):
    """Pool adjacent violators by hand: (bona fide, spoof) counts of blocks whose share of bona fide rises."""
    blocks = []
    for score in sorted({*bona_fide, *spoof}):
        blocks.append([bona_fide.count(score), spoof.count(score)])
        while len(blocks) > 1 and blocks[-1][0] * sum(blocks[-2]) <= blocks[-2][0] * sum(blocks[-1]):
            up, down = blocks.pop()
            blocks[-1] = [blocks[-1][0] + up, blocks[-1][1] + down]
    return blocks


@given(TIED, TIED)
def test_min_cllr_is_the_cost_of_pooled_blocks(bona_fide, spoof):
    cost = 0.0
    for up, down in pooled(bona_fide, spoof):
        if up and down:
            ratio = (up / len(bona_fide)) / (down / len(spoof))
            cost += up * math.log2(1 + 1 / ratio) / len(bona_fide) + down * math.log2(1 + ratio) / len(spoof)
    assert min_cllr(bona_fide, spoof) == pytest.approx(cost / 2, abs=1e-9)


COUNTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)).filter(any), min_size=1, max_size=40)


@given(COUNTS, st.integers(0, 3))
def test_pooling_is_isotonic_regression_however_many_passes_are_made_at_once(counts, passes):
    up, down = (np.array(column) for column in zip(*counts, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "PASSES", passes)
        first, above, below = likelihood.pooled(up, down)
    found = np.repeat(above / (above + below), np.diff(np.append(first, len(up))))
    expected = scipy.optimize.isotonic_regression(up / (up + down), weights=up + down).x
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_an_evaluation_does_not_wait_for_scipy(tmp_path):
    (tmp_path / "s.tsv").write_text("filename\tcm-score\na\t1\nb\t0\n")
    (tmp_path / "k.tsv").write_text("filename\tcm-label\na\tbonafide\nb\tspoof\n")
    code = (
        "import sys; from veravox.apps.cli import main\n"
        "try: main(['evaluate', 's.tsv', 'k.tsv', '--polarity', 'higher-is-bonafide'])\n"
        "except SystemExit as end: assert not end.code\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'scipy', 'torch', 'matplotlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@given(TIED, TIED, st.floats(0.1, 3), st.floats(-2, 2))
@settings(max_examples=50)
def test_no_rising_map_beats_min_cllr(bona_fide, spoof, scale, offset):
    mapped = cllr([scale * s + offset for s in bona_fide], [scale * s + offset for s in spoof])
    assert min_cllr(bona_fide, spoof) <= mapped + 1e-9


def test_ratios_that_say_nothing_cost_one_bit():
    assert cllr([0, 0], [0]) == pytest.approx(1)
    assert min_cllr([0, 0], [0]) == pytest.approx(1)
    assert min_cllr([1, 2], [-1, 0]) == pytest.approx(0, abs=1e-12)


def test_the_calibration_error_of_true_ratios_is_small_and_of_scaled_ones_large():
    bona_fide, spoof = gaussians(20_000)
    assert calibration_error(2 * bona_fide, 2 * spoof) < 0.01
    assert calibration_error(9 * bona_fide, 9 * spoof) > 0.05


@given(TIED, TIED, st.sampled_from([0.5, 0.1]))
def test_the_calibration_error_is_the_mean_gap_of_its_bins(bona_fide, spoof, prior):
    bins = {}
    for scores, share, is_bona_fide in ((bona_fide, 1 - prior, 1), (spoof, prior, 0)):
        for score in scores:
            said = 1 / (1 + prior / (1 - prior) * math.exp(-score))
            weight = share / len(scores)
            kept = bins.setdefault(min(int(said * 15), 14), [0, 0, 0])
            kept[0] += weight
            kept[1] += weight * said
            kept[2] += weight * is_bona_fide
    gap = sum(abs(said - found) for _, said, found in bins.values())
    assert calibration_error(bona_fide, spoof, prior) == pytest.approx(gap, abs=1e-9)
