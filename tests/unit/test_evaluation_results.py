"""`evaluate` gives each part its own figures, names what it assumes, and refuses what would flatter."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

import veravox
from veravox.errors import EvaluationError, ProtocolError, ScoringError
from veravox.evaluation import (
    AsvScores,
    Comparison,
    DetectionCost,
    FittedCalibration,
    Fusion,
    Interval,
    MetricSettings,
    auc,
    calibrate,
    cllr,
    compare_scores,
    cross_fuse,
    equal_error_rate,
    evaluate,
    fit_fusion,
    fit_on,
    mcnemar,
    min_dcf,
    pools_from_text,
    restrict,
    write_report,
)
from veravox.evaluation.tables.summary import remarks
from veravox.tables import Protocol, Scores


def make(trials=240, seed=0, name="eval", gap=1.0):
    """Scores and a protocol of two domains, three attacks, six speakers, two codecs."""
    rng = np.random.default_rng(seed)
    bona_fide = np.arange(trials) % 3 == 0
    domains = np.where(np.arange(trials) % 2, "studio", "phone")
    rows = [
        {
            "utterance_id": f"{name}{index}",
            "label": "bonafide" if bona_fide[index] else "spoof",
            "attack_id": None if bona_fide[index] else f"A0{index % 3 + index % 4 // 2}",
            "domain": str(domains[index]),
            "speaker_id": f"s{index % 12}",
            "codec": "mp3" if index % 5 < 2 else "flac",
        }
        for index in range(trials)
    ]
    values = rng.normal(0, 1, trials) + gap * np.where(bona_fide, 1, -1) + (domains == "studio") * 0.5
    ids = [row["utterance_id"] for row in rows]
    scores = Scores(pl.DataFrame({"utterance_id": ids, "score": values}).sample(fraction=1, shuffle=True, seed=1))
    return scores, Protocol.from_rows(rows, name=f"{name}.csv")


def rate(scores, protocol, condition, metric=equal_error_rate):
    frame = scores.align(protocol).filter(condition)
    is_bona_fide = (frame["label"] == "bonafide").to_numpy()
    values = frame["score"].to_numpy()
    return metric(values[is_bona_fide], values[~is_bona_fide])


def test_the_whole_and_the_public_name():
    scores, protocol = make()
    found = veravox.evaluate(scores, protocol)
    assert found.eer == rate(scores, protocol, pl.lit(True))
    assert found.auc == rate(scores, protocol, pl.lit(True), auc)
    assert found.min_dcf == rate(scores, protocol, pl.lit(True), min_dcf)
    assert found["eer"].low is None
    assert abs(found.balanced_accuracy - (1 - found.eer)) < 1e-12
    assert found.balanced_accuracy == pytest.approx((found.tpr + found.tnr) / 2)


def test_arrays_in_memory_are_evaluated_too():
    scores, protocol = make()
    frame = scores.align(protocol)
    by_text = evaluate(frame["score"].to_numpy(), frame["label"].to_list())
    by_mark = evaluate(frame["score"].to_numpy(), (frame["label"] == "bonafide").to_numpy())
    assert by_text.eer == by_mark.eer == evaluate(scores, protocol).eer
    with pytest.raises(EvaluationError, match="labels are numbers"):
        evaluate([1.0, 2.0], [0, 1])
    with pytest.raises(EvaluationError, match="one length"):
        evaluate([1.0, 2.0], ["real"])
    with pytest.raises(EvaluationError, match="Scores with a Protocol"):
        evaluate(scores, ["real"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.head(200), ScoringError, "40 trials of 'eval.csv' have no score"),
        (lambda f: f.with_columns(utterance_id=pl.lit("x") + pl.col("utterance_id")), ScoringError, "no score"),
        (lambda f: pl.concat([f, f.head(1)]), ScoringError, "scored more than once"),
        (lambda f: f.with_columns(score=pl.lit(float("nan"))), ScoringError, "not finite"),
    ],
)
def test_scores_that_do_not_fit_the_protocol_are_refused_by_name(change, error, message):
    scores, protocol = make()
    with pytest.raises(error, match=message):
        evaluate(Scores(change(scores.frame)), protocol)


def test_a_missing_label_and_a_missing_class_are_refused():
    scores, protocol = make()
    unlabelled = protocol.with_frame(
        protocol.frame.with_columns(label=pl.when(pl.col("utterance_id") == "eval3").then(None).otherwise("label"))
    )
    with pytest.raises(ProtocolError, match="1 trials have no label, first 'eval3'"):
        evaluate(scores, unlabelled)
    some, kept = restrict(scores, protocol, ["label=spoof"])
    with pytest.raises(EvaluationError, match="no bona fide trials"):
        evaluate(some, kept)


def test_attacks_stand_against_all_bona_fide_or_those_of_their_domain():
    scores, protocol = make()
    found = evaluate(scores, protocol, by=["attack_id"])
    for part in found.groups["attack_id"]:
        condition = (pl.col("attack_id") == part.name) | (pl.col("label") == "bonafide")
        assert part.estimates["eer"].value == rate(scores, protocol, condition)
        assert (part.side, part.bona_fide, part.note) == ("spoof", 80, "against all 80 bona fide")
    one_domain = protocol.with_frame(
        protocol.frame.with_columns(
            attack_id=pl.when(pl.col("label") == "spoof").then("A-" + pl.col("domain")).otherwise(None)
        )
    )
    same = evaluate(scores, one_domain, by=["attack_id"], against="domain")
    for part in same.groups["attack_id"]:
        domain = part.name.removeprefix("A-")
        assert part.estimates["eer"].value == rate(scores, protocol, pl.col("domain") == domain)
        assert part.note == "against 40 bona fide of the same domain"


def test_a_column_of_both_classes_divides_both_and_several_columns_cross():
    scores, protocol = make()
    found = evaluate(scores, protocol, by=["codec", ("domain", "codec"), "domain,codec"])
    assert list(found.groups) == ["codec", "domain,codec"]
    mp3 = next(part for part in found.groups["codec"] if part.name == "mp3")
    assert mp3.estimates["eer"].value == rate(scores, protocol, pl.col("codec") == "mp3")
    crossed = {part.name: part for part in found.groups["domain,codec"]}
    assert set(crossed) == {"phone, mp3", "phone, flac", "studio, mp3", "studio, flac"}
    condition = (pl.col("codec") == "flac") & (pl.col("domain") == "phone")
    assert crossed["phone, flac"].estimates["auc"].value == rate(scores, protocol, condition, auc)
    assert sum(part.bona_fide + part.spoof for part in found.groups["domain,codec"]) == len(protocol)


def test_degradations_stay_in_the_order_of_their_suite_and_others_are_sorted():
    scores, protocol = make()
    suite = ["original", "mp3 16k", "aac 16k"]
    frame = protocol.frame.with_columns(degradation=pl.Series(suite * (len(protocol.frame) // 3)))
    found = evaluate(scores, Protocol(frame, name="degraded"), by=["degradation", "codec"]).groups
    assert [part.name for part in found["degradation"]] == suite
    names = [part.name for part in found["codec"]]
    assert names == sorted(names)


def test_a_group_of_one_class_tells_only_the_share_decided_rightly():
    scores, protocol = make()
    sources = protocol.with_frame(protocol.frame.with_columns(source=pl.col("label") + pl.col("codec")))
    found = evaluate(scores, sources, by=["source"], at=[0.0])
    parts = {part.name: part for part in found.groups["source"]}
    frame = scores.align(sources)
    passed = frame.filter(pl.col("source") == "bonafidemp3")["score"] >= 0
    assert list(parts["bonafidemp3"].estimates) == ["tnr"]
    assert parts["bonafidemp3"].estimates["tnr"].value == pytest.approx(passed.mean())
    assert list(parts["spoofmp3"].estimates) == ["tpr"]


def test_macro_is_the_mean_of_datasets_and_pooled_is_all_their_trials():
    scores, protocol = make()
    found = evaluate(scores, protocol, pools={"known": ["studio", "phone"], "all": ["*"]}, bootstrap=20)
    pool = found.pools[0]
    rates = [rate(scores, protocol, pl.col("domain") == name) for name in ("studio", "phone")]
    assert pool.macro["eer"].value == pytest.approx(np.mean(rates))
    assert pool.pooled.estimates["eer"].value == found.eer
    assert pool.macro["eer"].value != pool.pooled.estimates["eer"].value
    assert pool.macro["eer"].low <= pool.macro["eer"].value <= pool.macro["eer"].high
    assert found.pools[1].macro["eer"].value == pool.macro["eer"].value


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": ["codek"]}, "no column 'codek' to group by; did you mean 'codec'"),
        ({"pools": {"known": ["studo"]}}, "no trial has domain 'studo'; did you mean 'studio'"),
        ({"pools": {"known": ["phone", "phone"]}}, "each of its datasets once"),
        ({"pools": {"known": ["x"]}, "pool_column": "set"}, "the column 'set', which is not there"),
        ({"metrics": ["err"]}, "unknown metric 'err'; did you mean 'eer'"),
        ({"metrics": ["cllr"]}, "needs log-likelihood ratios"),
        ({"metrics": ["min_tdcf"]}, "needs the scores of a speaker verification"),
        ({"at": ["eerr"]}, "unknown operating point 'eerr'"),
        ({"at": ["stored"]}, "needs a calibration"),
        ({"at": ["miss=2"]}, "unknown operating point"),
        ({"cluster": "attack_id", "bootstrap": 5}, "80 trials have no attack_id, first 'eval0'"),
        ({"cluster": "room", "bootstrap": 5}, "no column 'room' to resample by"),
        ({"against": "room", "by": ["attack_id"]}, "cannot be of the same 'room'"),
        ({"eer_form": "hull"}, "unknown form of EER"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message):
    scores, protocol = make()
    with pytest.raises(EvaluationError, match=message):
        evaluate(scores, protocol, **options)


def test_figures_that_were_not_computed_say_why():
    found = evaluate(*make())
    assert "calibration" in found.not_computed["cllr"]
    with pytest.raises(EvaluationError, match="'cllr' was not computed: needs log-likelihood ratios"):
        found.cllr  # noqa: B018
    with pytest.raises(AttributeError):
        found.eeer  # noqa: B018


def test_a_reversed_score_is_told_but_never_turned_over():
    scores, protocol = make()
    turned = Scores(scores.frame.with_columns(-pl.col("score")))
    found = evaluate(turned, protocol)
    assert found.eer > 0.5
    assert "the polarity looks reversed" in found.warnings[0]
    assert not evaluate(scores, protocol).warnings


def test_operating_points_are_named_and_kept():
    scores, protocol = make()
    found = evaluate(scores, protocol, at=["miss=0.05", "false-alarm=0.05", "min-dcf", 0.5])
    assert found["tnr"].value >= 0.95
    assert found["tpr@false-alarm=0.05"].value >= 0.95
    assert found.operating_points["0.5"] == ("a threshold of 0.5", 0.5)
    assert "tpr@min-dcf" in found.whole.estimates


def test_intervals_hold_every_figure_and_follow_the_clusters():
    scores, protocol = make()
    found = evaluate(scores, protocol, by=["attack_id"], bootstrap=60, cluster="speaker_id", llr=True)
    for name, estimate in found.whole.estimates.items():
        assert estimate.low <= estimate.high, name
        assert estimate.low - 0.05 <= estimate.value <= estimate.high + 0.05, name
    assert found.groups["attack_id"][0].estimates["eer"].low is not None
    assert found.settings["bootstrap"] == {"rounds": 60, "unit": "speaker_id", "confidence": 0.95, "seed": 0}
    again = evaluate(scores, protocol, bootstrap=60, cluster="speaker_id", llr=True)
    assert again["eer"] == found["eer"]
    few = evaluate(scores, protocol, bootstrap=5, cluster="codec")
    assert "only 2 values of codec" in few.warnings[0]


def test_a_calibration_is_applied_to_other_trials_and_refused_on_its_own():
    dev, dev_protocol = make(name="dev", seed=1, gap=2.0)
    scores, protocol = make(gap=2.0)
    fitted = fit_on(dev, dev_protocol, policy="sliding")
    found = evaluate(scores, protocol, calibration=fitted)
    raw = evaluate(scores, protocol, llr=True)
    assert found.eer == raw.eer
    assert found.cllr < raw.cllr
    assert found.operating_points[""][0] == "the calibration's stored threshold"
    assert 0 <= found.uncertain < 1
    with pytest.raises(
        EvaluationError, match=r"about 100% of the trials that the calibration was fitted on .dev.csv"
    ):
        evaluate(dev, dev_protocol, calibration=fitted)


def test_even_a_small_share_of_the_fitted_trials_is_noticed():
    dev, dev_protocol = make(600, name="dev", seed=1)
    fitted = fit_on(dev, dev_protocol)
    part = dev_protocol.with_frame(dev_protocol.frame.head(60))
    scores = Scores(dev.frame.filter(pl.col("utterance_id").is_in(part.utterance_ids)))
    with pytest.raises(EvaluationError, match="fitted on"):
        evaluate(scores, part, calibration=fitted)


def test_cross_validation_touches_only_the_figures_of_ratios():
    scores, protocol = make(gap=2.0)
    found = evaluate(scores, protocol, cross_validate=4, cluster="speaker_id")
    raw = evaluate(scores, protocol, llr=True)
    assert (found.eer, found.min_cllr, found.auc) == (raw.eer, raw.min_cllr, raw.auc)
    assert found.min_cllr <= found.cllr < raw.cllr
    with pytest.raises(EvaluationError, match="not both"):
        evaluate(scores, protocol, cross_validate=4, calibration=fit_on(*make(name="dev")))
    with pytest.raises(EvaluationError, match="needs one calibration"):
        evaluate(scores, protocol, cross_validate=4, at=["bayes"])


def test_a_calibration_survives_its_file(tmp_path):
    fitted = fit_on(*make(name="dev"))
    fitted.write(tmp_path / "c.json")
    assert FittedCalibration.read(tmp_path / "c.json") == fitted
    (tmp_path / "bare.json").write_text(json.dumps(fitted.calibration.to_dict()))
    assert FittedCalibration.read(tmp_path / "bare.json").calibration == fitted.calibration
    for text in ("[]", "{", '{"calibration": 3}', '{"scale": 1}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(EvaluationError, match="is not a calibration"):
            FittedCalibration.read(tmp_path / "bad.json")


def test_calibrate_reports_only_what_the_fit_has_not_seen():
    dev, protocol = make(name="dev", gap=2.0)
    found = calibrate(dev, protocol, cross_validate=4, rule="cost")
    assert found.pav_cllr <= found.cross_validated_cllr < found.raw_cllr
    assert found.fitted.calibration.lower == found.fitted.calibration.upper == pytest.approx(-np.log(1.9))
    assert calibrate(dev, protocol, cross_validate=0).cross_validated_cllr is None
    at_eer = calibrate(dev, protocol, rule="eer").fitted.calibration
    frame = dev.align(protocol)
    called = at_eer.scale * frame["score"].to_numpy() + at_eer.offset >= at_eer.lower
    is_bona_fide = (frame["label"] == "bonafide").to_numpy()
    assert np.mean(~called[is_bona_fide]) == pytest.approx(np.mean(called[~is_bona_fide]), abs=0.02)
    with pytest.raises(EvaluationError, match="unknown rule"):
        calibrate(dev, protocol, rule="eeer")
    with pytest.raises(EvaluationError, match="too few for 200 folds"):
        calibrate(*make(12), cross_validate=200)


def second_of(scores, protocol, seed=5):
    """Another system with noise of its own."""
    rng = np.random.default_rng(seed)
    frame = scores.align(protocol).select("utterance_id", "label")
    sign = np.where(frame["label"] == "bonafide", 1.0, -1.0)
    return Scores(frame.select("utterance_id").with_columns(score=pl.Series(sign + rng.normal(0, 1, len(sign)))))


def test_a_fusion_of_two_systems_beats_both_on_other_trials(tmp_path):
    dev, dev_protocol = make(1200, name="dev", seed=1)
    scores, protocol = make(1200, seed=2)
    both_dev = [dev, second_of(dev, dev_protocol)]
    both = [scores, second_of(scores, protocol, 6)]
    fusion = fit_fusion(both_dev, dev_protocol, names=["a", "b"])
    fusion.write(tmp_path / "f.json")
    fused = Fusion.read(tmp_path / "f.json").apply(both)
    found = evaluate(fused, protocol)
    assert found.eer < min(evaluate(one, protocol).eer for one in both)
    assert found.cllr - found.min_cllr < 0.05
    with pytest.raises(EvaluationError, match="about 100% of the trials"):
        fusion.apply(both_dev)
    with pytest.raises(EvaluationError, match=r"needs 2 systems .'a', 'b'.; 1 given"):
        fusion.apply([scores])
    crossed = cross_fuse(both_dev, dev_protocol, folds=4, cluster="speaker_id")
    assert evaluate(crossed, dev_protocol).eer < evaluate(dev, dev_protocol).eer
    with pytest.raises(EvaluationError, match="at least two"):
        fit_fusion([dev], dev_protocol)
    with pytest.raises(EvaluationError, match="is not a fusion"):
        Fusion.read(tmp_path / "none.json")


def test_two_systems_are_compared_on_the_same_trials():
    scores, protocol = make(600)
    other = second_of(scores, protocol)
    found = compare_scores(scores, other, protocol, "min_dcf", ("one", "two"), "speaker_id", rounds=50)
    assert found.values == (evaluate(scores, protocol).min_dcf, evaluate(other, protocol).min_dcf)
    assert found.unit == "speaker_id"
    assert found.conclusion.endswith(".")
    assert json.dumps(found.to_dict(), allow_nan=False)
    with pytest.raises(EvaluationError, match="depends on a threshold"):
        compare_scores(scores, other, protocol, "tpr")
    with pytest.raises(EvaluationError, match="needs log-likelihood"):
        compare_scores(scores, other, protocol, "cllr")


def test_a_comparison_goes_by_the_terms_that_were_asked_for():
    scores, protocol = make(600)
    other = second_of(scores, protocol)
    cost = DetectionCost(0.5, 1.0, 1.0)
    found = compare_scores(scores, other, protocol, "min_dcf", rounds=20, settings=MetricSettings(cost))
    assert found.values == tuple(evaluate(one, protocol, cost=cost).min_dcf for one in (scores, other))
    assert "points" not in found.conclusion
    assert f"{abs(found.difference):.4f}" in found.conclusion
    found = compare_scores(scores, other, protocol, "cllr", rounds=20, llr=True)
    assert found.values == tuple(evaluate(one, protocol, llr=True).cllr for one in (scores, other))


def test_no_difference_is_called_more_than_chance_against_its_own_p_value():
    found = Comparison(
        ("a", "b"),
        "EER",
        (0.1, 0.2),
        -0.1,
        Interval(-0.2, -0.01),
        0.078,
        mcnemar(*[np.ones(1, bool)] * 2),
        50,
        "trials",
    )
    assert "do not tell it from chance" in found.conclusion


def test_tandem_figures_come_with_speaker_verification_scores():
    scores, protocol = make()
    rng = np.random.default_rng(0)
    asv = AsvScores(rng.normal(2, 1, 200), rng.normal(-2, 1, 200), rng.normal(1, 1, 200))
    found = evaluate(scores, protocol, asv=asv, joint=asv, metrics=["min_tdcf", "min_tdcf_legacy", "t_eer"])
    assert 0 < found.min_tdcf_legacy < found.min_tdcf <= 1
    assert 0 < found.t_eer < 0.5
    assert 0 < found["a_dcf"].value <= 1


def test_joint_and_tandem_figures_have_intervals_that_come_again_with_the_seed(tmp_path):
    scores, protocol = make()
    rng = np.random.default_rng(0)
    asv = AsvScores(rng.normal(2, 1, 200), rng.normal(-2, 1, 200), rng.normal(1, 1, 200))
    names = ["min_tdcf", "min_tdcf_legacy", "t_eer"]
    found, again, other = (
        evaluate(scores, protocol, asv=asv, joint=asv, metrics=names, bootstrap=60, seed=seed)
        for seed in (1, 1, 2)
    )
    for name in (*names, "a_dcf"):
        assert found[name].low < found[name].high
        assert found[name].low <= found[name].value <= found[name].high
        assert found[name] == again[name] != other[name]
    low, high = found["a_dcf"].low, found["a_dcf"].high
    assert found.to_dict()["extra_intervals"] == {"a_dcf": {"low": low, "high": high}}
    shown = f"(interval {low:.6f} to {high:.6f}, over trials of each kind)"
    assert shown in (write_report(found, tmp_path).parent / "report.md").read_text()
    assert any(shown in line for line in remarks(found))


def test_labels_in_the_score_file_must_agree_with_the_protocol():
    scores, protocol = make()
    frame = scores.frame.with_columns(label_in_scores=pl.lit("spoof"))
    with pytest.raises(EvaluationError, match="80 trials have another label in the score file"):
        evaluate(Scores(frame), protocol)


def test_conditions_keep_the_trials_and_their_scores():
    scores, protocol = make()
    some, kept = restrict(scores, protocol, ["codec=mp3", "domain=phone"])
    assert len(some) == len(kept) == len(protocol.where(codec="mp3", domain="phone"))
    stranger = Scores(pl.concat([scores.frame, pl.DataFrame({"utterance_id": ["x"], "score": [1.0]})]))
    with pytest.raises(ScoringError, match="have no trial"):
        evaluate(*restrict(stranger, protocol, ["codec=mp3"]))
    for wrong, message in (("codec", "COLUMN=VALUE"), ("codec=opus", "no trial of")):
        with pytest.raises(EvaluationError, match=message):
            restrict(scores, protocol, [wrong])


def test_pools_are_written_as_name_and_members():
    assert pools_from_text(["known=a, b", "all=*"]) == {"known": ["a", "b"], "all": ["*"]}
    for wrong in (["known"], ["=a"], ["a="], ["a=b", "a=c"]):
        with pytest.raises(EvaluationError):
            pools_from_text(wrong)


def test_the_report_is_whole_and_every_number_in_it_is_the_evaluations(tmp_path):
    scores, protocol = make()
    found = evaluate(
        scores,
        protocol,
        by=["attack_id"],
        pools={"all": ["*"]},
        bootstrap=10,
        cross_validate=3,
        at=["eer", "miss=0.1"],
    )
    comparison = compare_scores(scores, second_of(scores, protocol), protocol, rounds=10)
    page = write_report(found, tmp_path / "report", comparison)
    names = {path.name for path in page.parent.iterdir()}
    pictures = {"det.png", "roc.png", "histogram.png", "reliability.png", "by-attack-id.png", "by-pool-all.png"}
    assert names == pictures | {"index.html", "report.json", "report.md", "report.tex"}
    content = json.loads((page.parent / "report.json").read_text())
    assert content["figures"]["eer"]["value"] == found.eer
    assert content["comparison"]["conclusion"] == comparison.conclusion
    html, markdown = page.read_text(), (page.parent / "report.md").read_text()
    for text in (f"{100 * found.eer:.4f} %", "macro mean of 2 datasets", "pooled: all trials together"):
        assert text in html
        assert text in markdown
    assert '<th scope="row">A03</th>' in html
    assert "| A03 |" in markdown
    assert html.count("data:image/png") == 2 * len(pictures)
    assert comparison.conclusion in html
    for name in pictures:
        assert (page.parent / name).read_bytes().startswith(b"\x89PNG")


def test_each_group_stands_beside_its_own_picture_and_very_many_are_cut_to_the_worst(tmp_path):
    ids = [f"t{index}" for index in range(3000)]
    rows = [
        {"utterance_id": name, "label": ("bonafide", "spoof")[i % 2], "codec": "ab"[i % 4 // 2], "source_id": name}
        for i, name in enumerate(ids)
    ]
    scores = Scores(pl.DataFrame({"utterance_id": ids, "score": np.linspace(-1, 1, 3000)}))
    found = evaluate(scores, Protocol.from_rows(rows), by=["codec", "source_id"], metrics=["auc", "tpr"])
    html = write_report(found, tmp_path / "report").read_text()
    assert not (tmp_path / "report" / "by-auc.png").exists()
    first, second = html.split("<h2>By codec</h2>")[1].split("<h2>By source_id</h2>")
    pictured = {column: "data:image/png" in part for column, part in (("codec", first), ("source_id", second))}
    made = {column: (tmp_path / "report" / f"by-{column.replace('_', '-')}.png").exists() for column in pictured}
    assert pictured == made
    assert made["source_id"]


def test_public_names_all_load():
    import veravox.evaluation as room

    for name in room.__all__:
        assert getattr(room, name) is not None
    assert cllr is room.cllr
