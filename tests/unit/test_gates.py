"""What the gates chose: known weights, known agreement, a bound that no gate beats, and a page of it."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest

from tiny import tiny_checkpoint
from veravox.analysis.gates.agreement import agreement, error_rate, minus_threshold, oracle, pair_figures
from veravox.analysis.gates.analyse import GateReport, similarity, weights_over_time
from veravox.apps.cli import main
from veravox.models import write_checkpoint
from veravox.scoring.prediction import Prediction
from veravox.tables import read_protocol


def test_pairs_that_err_alike_apart_and_independently_have_known_figures():
    right = np.array([True, True, False, False])
    assert pair_figures(right, right)["q"] == 1
    assert pair_figures(right, right)["error_correlation"] == pytest.approx(1)
    assert pair_figures(right, ~right)["q"] == -1
    independent = pair_figures(right, np.array([True, False, True, False]))
    assert independent == {"q": 0.0, "error_correlation": 0.0, "agreement": 0.5, "double_fault": 0.25}
    always = pair_figures(np.ones(4, bool), right)
    assert always["q"] is None
    assert always["error_correlation"] is None


def experts_on(trials: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two experts, each good in one of two domains."""
    rng = np.random.default_rng(seed)
    bona_fide = np.arange(trials) % 2 == 0
    groups = np.where(np.arange(trials) < trials // 2, "a", "b").astype(object)
    separation = np.where((groups == "a")[:, None] == np.array([True, False]), 3.0, 0.2)
    return (2.0 * bona_fide - 1)[:, None] * separation + rng.normal(size=(trials, 2)), bona_fide, groups


def test_the_oracle_bounds_experts_and_a_gate_that_knows_the_domain_beats_the_best_expert():
    logits, bona_fide, groups = experts_on()
    found = oracle(["x", "y"], logits.mean(axis=1), logits, bona_fide, groups)
    assert found["oracle"] <= found["best_expert_of_each_domain"] < found["best_expert_eer"]
    assert found["oracle"] <= found["mixture"] == found["mean_of_experts"]
    assert found["gain_over_best_expert"] == pytest.approx(found["best_expert_eer"] - found["mixture"])
    assert found["best_expert_eer"] == min(error_rate(column, bona_fide) for column in logits.T)


def test_an_expert_that_was_not_run_has_no_part_in_figures():
    logits, bona_fide, groups = experts_on()
    logits[:100, 1] = np.nan
    assert agreement(["x", "y"], logits, bona_fide)[0]["trials"] == 100
    assert np.isnan(minus_threshold(logits, bona_fide)[:100, 1]).all()
    silent = logits.copy()
    silent[:, 1] = np.nan
    assert agreement(["x", "y"], silent, bona_fide) == []
    assert oracle(["x", "y"], logits[:, 0], silent, bona_fide, groups)["best_expert"] == "x"
    assert oracle(["x", "y"], logits[:, 0], logits, np.ones(200, bool), groups)["oracle"] is None


def test_remarks_say_who_stands_out_and_do_not_when_nobody_does():
    rows = [{"value": "a", "weights": [0.8, 0.2]}, {"value": "b", "weights": [0.52, 0.48]}]
    bias = {"hears": "all", "listens": "little"}
    report = GateReport(
        ["x", "y"], {"x": bias, "y": bias}, {"domain": rows}, None, None, None, [], None, "all run", 2, 2, []
    )
    said = report.remarks()
    assert said[1] == "a leans on x, with 80 % of the weight."
    assert said[2].startswith("b: no expert stands out")
    assert "differ by what they learned from" in said[3]


def test_domains_are_alike_by_the_weight_that_they_share():
    rows = [
        {"value": name, "weights": weights}
        for name, weights in zip("abc", ([1, 0], [0, 1], [0.5, 0.5]), strict=True)
    ]
    assert similarity(rows)["matrix"] == [[1, 0, 0.5], [0, 1, 0.5], [0.5, 0.5, 1]]


def test_weights_over_time_of_an_utterance_reads_short_and_long_ones_alike():
    def predictions(weights):
        return Prediction(0, "", gate_weights=np.array(weights))

    turning = predictions([[1.0, 0.0], [0.0, 1.0]])
    along, spread = weights_over_time(
        [turning, predictions([[0.5, 0.5]]), predictions([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4)]
    )
    assert along == [[1.0, 0.0]] * 5 + [[0.0, 1.0]] * 5
    assert spread == [0.5, 0.5]
    assert weights_over_time([predictions([[0.5, 0.5]])]) == (None, None)


@pytest.fixture
def mixture(tmp_path):
    write_checkpoint(tiny_checkpoint(), tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def few(samples, tmp_path):
    protocol = read_protocol(samples / "protocol.csv").where(split="dev")
    frame = protocol.frame.group_by("domain", "label", maintain_order=True).head(2)
    frame = frame.with_columns(pl.Series("path", protocol.with_frame(frame).audio_paths()))
    protocol.with_frame(frame).write(tmp_path / "few.csv")
    return tmp_path / "few.csv"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["gates", *map(str, arguments), "--workers", "0", "--quiet"])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_the_command_prints_weights_of_every_domain_and_writes_page_json_and_heat_maps(
    mixture, few, tmp_path, capsys
):
    code, out, _ = run(capsys, mixture, few, "--out", tmp_path / "report")
    assert code == 0
    for name in (
        "neural-tts",
        "classic-tts",
        "oracle gate",
        "mel / linear",
        "It notices patterns of growing size",
    ):
        assert name in out
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert {"gates.html", "gates.json", "weights_domain.png", "weights_language.png", "similarity.png"} <= names
    report = json.loads((tmp_path / "report/gates.json").read_text())
    for rows in report["groups"].values():
        assert all(sum(row["weights"]) == pytest.approx(1, abs=1e-6) for row in rows)
    assert sum(row["trials"] for row in report["groups"]["domain"]) == report["trials"] == 16
    html = (tmp_path / "report/gates.html").read_text()
    assert "patterns of growing size" in html
    assert "<script" not in html


def test_unlabelled_trials_have_weights_but_no_error_figures_and_an_unreadable_one_is_named(
    mixture, few, tmp_path, capsys
):
    protocol = read_protocol(few)
    frame = protocol.frame.drop("label", "attack_id")
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    paths = [str(tmp_path / "broken.wav"), *frame["path"].to_list()[1:]]
    protocol.with_frame(frame.with_columns(pl.Series("path", paths))).write(tmp_path / "bare.csv")
    code, out, error = run(capsys, mixture, tmp_path / "bare.csv", "--json", "--by", "domain")
    assert code == 1
    report = json.loads(out)
    assert report["oracle"] is None
    assert report["agreement"] == []
    assert report["trials"] == 15
    assert frame["utterance_id"][0] in error


def test_bona_fide_trials_without_an_attack_are_a_row_of_their_own(mixture, few, tmp_path, capsys):
    protocol = read_protocol(few)
    frame = protocol.frame.with_columns(pl.col("attack_id").replace("-", None))
    protocol.with_frame(frame).write(tmp_path / "corpus.csv")
    rows = {}
    for name in ("few", "corpus"):
        code, out, error = run(capsys, mixture, tmp_path / f"{name}.csv", "--json", "--by", "attack_id")
        assert code == 0, error
        rows[name] = json.loads(out)["groups"]["attack_id"]
    assert rows["corpus"] == rows["few"]
    assert {row["value"]: row["trials"] for row in rows["corpus"]}["bona fide"] == 8


def test_a_detector_of_one_expert_and_an_absent_column_are_refused(few, mixture, tmp_path, capsys):
    one = {"experts": {"mel": {"front_end": "log_mel", "name": "resnet", "widths": [4], "depths": [1]}}}
    write_checkpoint(tiny_checkpoint(**one, gate="uniform"), tmp_path / "one")
    assert run(capsys, tmp_path / "one", few)[0] == 2
    code, _, error = run(capsys, mixture, few, "--by", "colour")
    assert code == 2
    assert "colour" in error
