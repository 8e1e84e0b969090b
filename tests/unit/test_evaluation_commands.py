"""`evaluate`, `calibrate`, `fuse` and `table` as a user types them."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from veravox.apps.cli import main
from veravox.evaluation import equal_error_rate

TRIALS = 120


def write(folder, name, seed=0, gap=1.0, sign=1):
    """A score file of ours, a foreign one with its sign turned, and the protocol."""
    rng = np.random.default_rng(seed)
    labels = ["bonafide" if index % 3 == 0 else "spoof" for index in range(TRIALS)]
    scores = rng.normal(0, 1, TRIALS) + gap * np.array([1 if label == "bonafide" else -1 for label in labels])
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [("utterance_id", "score"), *((f"{name}{index}", score) for index, score in enumerate(scores))]
        )
    (folder / f"{name}.txt").write_text("".join(f"{name}{i} {-s}\n" for i, s in enumerate(scores)))
    with (folder / f"{name}.protocol.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("utterance_id", "label", "attack_id", "domain", "speaker_id"))
        for index, label in enumerate(labels):
            attack = "" if label == "bonafide" else f"A{index % 4}"
            writer.writerow((f"{name}{index}", label, attack, "ab"[index % 2], f"s{index % 12}"))
    return labels, scores


@pytest.fixture
def files(tmp_path):
    for name, seed in (("dev", 1), ("eval", 0)):
        write(tmp_path, name, seed)
    return tmp_path


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return stopped.value.code, captured.out, captured.err


def test_evaluate_puts_several_systems_side_by_side_by_a_column(files, capsys):
    other = files / "other.csv"
    other.write_text((files / "eval.csv").read_text())
    protocol = files / "eval.protocol.csv"
    code, out, _ = run(capsys, "evaluate", files / "eval.csv", f"second:{other}", protocol, "--by", "domain")
    assert code == 0
    flowing = " ".join(out.split())
    assert "second" in flowing
    assert "balanced accuracy / EER" in flowing
    assert "Verdicts at eer of all trials together" in flowing
    for options, message in (
        (["--by", "domain", "--bootstrap", 5], "make one table without --bootstrap"),
        ([], "by a column, e.g. --by degradation"),
    ):
        code, _, err = run(capsys, "evaluate", files / "eval.csv", other, protocol, *options)
        assert code == 2
        assert message in err
    code, _, err = run(capsys, "evaluate", files / "eval.csv", files / "eval.csv", protocol, "--by", "domain")
    assert "two systems have one name (eval, eval); write NAME:PATH" in err
    code, _, err = run(capsys, "evaluate", protocol)
    assert code == 2


def test_evaluate_prints_figures_groups_and_pools(files, capsys):
    code, out, err = run(
        capsys,
        *("evaluate", files / "eval.csv", files / "eval.protocol.csv", "--by", "attack_id", "--pool", "known=a,b"),
        *("--bootstrap", 10, "--cluster", "speaker_id", "--against", "domain"),
    )
    assert code == 0
    labels, scores = write(files, "eval", 0)
    is_bona_fide = np.array(labels) == "bonafide"
    assert f"{100 * equal_error_rate(scores[is_bona_fide], scores[~is_bona_fide]):.4f} %" in out
    for text in ("By attack_id", "A3", "macro mean of 2 datasets", "pooled: all trials together", "95% interval"):
        assert text in out
    assert "Not computed: Cllr" in out
    assert "\x1b" not in out
    assert f"{TRIALS} trials" in err


def test_evaluate_speaks_json_alone_on_stdout(files, capsys):
    code, out, err = run(
        capsys,
        *("evaluate", files / "eval.csv", files / "eval.protocol.csv", "--json", "--bootstrap", 5),
        *("--compare", files / "eval.txt", "--compare-polarity", "higher-is-spoof"),
    )
    content = json.loads(out)
    assert (code, content["schema"], content["trials"], err) == (0, 1, TRIALS, "")
    assert content["figures"]["eer"]["low"] <= content["figures"]["eer"]["high"]
    assert "have the same EER" in content["comparison"]["conclusion"]


def test_a_foreign_file_needs_its_polarity(files, capsys):
    foreign = files / "eval.txt"
    code, out, err = run(capsys, "evaluate", foreign, files / "eval.protocol.csv")
    assert (code, out) == (2, "")
    assert "say --polarity" in err
    assert "Traceback" not in err
    _, right, quiet = run(
        capsys, "evaluate", foreign, files / "eval.protocol.csv", "--polarity", "higher-is-spoof", "--quiet"
    )
    assert quiet == ""
    _, own, _ = run(capsys, "evaluate", files / "eval.csv", files / "eval.protocol.csv")
    assert right == own
    code, out, err = run(
        capsys, "evaluate", foreign, files / "eval.protocol.csv", "--polarity", "higher-is-bonafide"
    )
    assert code == 0
    assert "veravox: warning: the EER is" in err
    assert "polarity looks reversed" in err


def test_a_request_that_is_wrong_is_one_line_and_two(files, capsys):
    for options in (["--by", "codek"], ["--pool", "known"], ["--metric", "err"], ["--where", "domain=c"]):
        code, out, err = run(
            capsys, "evaluate", files / "eval.csv", files / "eval.protocol.csv", *options, "--quiet"
        )
        assert (code, out, err.count("\n")) == (2, "", 1)
    code, _, err = run(capsys, "evaluate", files / "eval.csv", files / "dev.protocol.csv")
    assert code == 2
    assert "120 trials of" in err
    assert "have no score, first 'dev0', 'dev1', 'dev2' and 117 more" in err


def test_a_report_is_a_folder(files, capsys):
    code, _, _ = run(
        capsys,
        "evaluate",
        files / "eval.csv",
        files / "eval.protocol.csv",
        "--report",
        files / "report",
        "--quiet",
    )
    assert code == 0
    assert (files / "report/index.html").stat().st_size > 10_000


def test_a_calibration_goes_from_dev_to_eval_and_not_back(files, capsys):
    made = files / "cal.json"
    code, out, _ = run(capsys, "calibrate", files / "dev.csv", files / "dev.protocol.csv", "--out", made)
    assert code == 0
    assert "Cllr, cross-validated in 5 folds" in out
    code, out, _ = run(
        capsys,
        "evaluate",
        files / "eval.csv",
        files / "eval.protocol.csv",
        "--calibration",
        made,
        "--at",
        "stored",
    )
    assert code == 0
    for text in ("Cllr", "act DCF", "uncertain verdicts", "stored threshold"):
        assert text in out
    code, out, err = run(
        capsys, "evaluate", files / "dev.csv", files / "dev.protocol.csv", "--calibration", made, "--quiet"
    )
    assert (code, out) == (2, "")
    assert "report on other trials, or cross-validate" in err
    code, out, _ = run(capsys, "evaluate", files / "dev.csv", files / "dev.protocol.csv", "--cross-validate", 5)
    assert code == 0
    assert "cross-validated on these trials, 5 folds" in out


def test_a_comparison_on_the_command_line_takes_the_stated_cost_and_names_both_files(files, capsys):
    (files / "other").mkdir()
    write(files / "other", "eval", 5, gap=0.5)
    cost = ("--p-spoof", 0.5, "--cost-false-alarm", 1, "--compare-metric", "min_dcf", "--json", "--bootstrap", 5)
    alone = []
    for folder in (files, files / "other"):
        out = run(capsys, "evaluate", folder / "eval.csv", files / "eval.protocol.csv", *cost)[1]
        alone.append(json.loads(out)["figures"]["min_dcf"]["value"])
    both = ("--compare", files / "other" / "eval.csv")
    out = run(capsys, "evaluate", files / "eval.csv", files / "eval.protocol.csv", *cost, *both)[1]
    found = json.loads(out)["comparison"]
    assert found["values"] == alone
    assert found["names"] == [str(files / "eval.csv"), str(files / "other" / "eval.csv")]


@pytest.mark.parametrize(
    "arguments",
    [
        ("calibrate", "dev.csv", "dev.protocol.csv", "--out", "dev.csv"),
        ("fuse", "dev.csv", "dev.txt", "dev.protocol.csv", "--polarity", "higher-is-spoof", "--out", "dev.txt"),
        ("score", "dev.protocol.csv", "--out", "dev.protocol.csv"),
        ("protocol", "make", "table", "dev.protocol.csv", "--out", "dev.protocol.csv"),
        ("degrade", "protocol.csv", "--suite", "safe-task2", "--out", "."),
    ],
)
def test_no_command_writes_over_its_own_input(files, capsys, monkeypatch, arguments):
    (files / "protocol.csv").write_bytes((files / "dev.protocol.csv").read_bytes())
    monkeypatch.chdir(files)
    before = {path: path.read_bytes() for path in files.iterdir()}
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert "choose another name" in err
    assert {path: path.read_bytes() for path in files.iterdir()} == before


def test_a_fusion_goes_from_dev_to_eval_and_not_back(files, capsys):
    polarity = ("--polarity", "higher-is-spoof")
    both = (files / "dev.csv", files / "dev.txt")
    fusion, fused = files / "fusion.json", files / "fused.csv"
    # A foreign and an own file of one system: a polarity is asked for where it is needed.
    code, _, err = run(capsys, "fuse", *both, files / "dev.protocol.csv", "--out", fusion)
    assert code == 2
    assert "say --polarity" in err
    second = files / "second"
    second.mkdir()
    for name, seed in (("dev", 7), ("eval", 8)):
        write(second, name, seed)
    dev = (files / "dev.txt", second / "dev.txt")
    code, out, _ = run(capsys, "fuse", *dev, files / "dev.protocol.csv", "--out", fusion, *polarity)
    assert code == 0
    assert "weight" in out
    evaluated = (files / "eval.txt", second / "eval.txt")
    code, _, _ = run(capsys, "fuse", *evaluated, "--apply", fusion, "--out", fused, *polarity)
    assert code == 0
    code, out, _ = run(capsys, "evaluate", fused, files / "eval.protocol.csv", "--json")
    direct = ("--calibration", fusion, "--fuse-with", second / "eval.txt", *polarity)
    _, same, _ = run(capsys, "evaluate", files / "eval.txt", files / "eval.protocol.csv", *direct, "--json")
    assert json.loads(out)["figures"] == json.loads(same)["figures"]
    assert "cllr" in json.loads(out)["figures"]
    code, _, err = run(capsys, "fuse", *dev, "--apply", fusion, "--out", fused, *polarity)
    assert code == 2
    assert "fitted on" in err
    code, _, err = run(capsys, "fuse", *dev, files / "dev.protocol.csv", "--out", fused, *polarity)
    assert code == 2
    assert "would flatter" in err
    crossed = ("--cross-validate", 4, "--out", fused, *polarity)
    assert run(capsys, "fuse", *dev, files / "dev.protocol.csv", *crossed)[0] == 0


def test_a_table_gathers_seeds_and_writes_every_form(files, capsys):
    for run_name, seed in (("mele-seed1", 3), ("mele-seed2", 4), ("mile", 5)):
        for name in ("A", "B"):
            write(files / run_name, name, seed)
    runs = [files / name for name in ("mele-seed1", "mele-seed2", "mile")]
    protocols = [f"{name}={files / 'mile' / (name + '.protocol.csv')}" for name in ("A", "B")]
    for folder in runs:
        for name in ("A", "B"):
            (folder / f"{name}.txt").unlink()
    code, out, _ = run(
        capsys,
        *("table", *runs, "--datasets", protocols[0], protocols[1], "--pool", "all=*", "--pooled"),
        *("--metric", "eer", "--metric", "auc", "--out", files / "t.tex", "--out", files / "t.md"),
    )
    assert code == 0
    assert "all (pooled)" in out
    assert "±" in out
    assert r"\textbf{" in (files / "t.tex").read_text()
    assert "**" in (files / "t.md").read_text()
    code, out, _ = run(capsys, "table", *runs, "--datasets", protocols[0], "--format", "csv", "--digits", 3)
    assert out.splitlines()[0] == "system,A"
    assert [line.split(",")[0] for line in out.splitlines()[1:]] == ["mele", "mile"]


def test_a_table_of_accuracies_is_at_a_stated_point(files, capsys):
    dataset = ("--datasets", f"task={files / 'eval.protocol.csv'}")
    code, out, _ = run(
        capsys, "table", files / "eval.csv", *dataset, "--by", "attack_id", "--at", 0, "--transpose"
    )
    assert code == 0
    assert "attack_id A3" in out
    code, _, err = run(capsys, "table", files / "eval.csv", *dataset, "--by", "attack_id")
    assert code == 2
    assert "give --at" in err


@pytest.mark.parametrize(
    "wrong",
    [
        ["table", "run", "--datasets", "A"],
        ["table", "run", "--datasets", "A=none.csv"],
        ["table", "B=b", "--datasets", "A=a"],
    ],
)
def test_a_table_that_is_asked_for_wrongly_says_how(capsys, wrong):
    code, out, err = run(capsys, *wrong)
    assert (code, out, err.count("\n")) == (2, "", 1)


def test_where_the_spoof_is_in_an_utterance_is_judged_by_windows(files, capsys):
    windows = ["utterance_id,start_s,end_s,score"]
    segments = ["utterance_id,start_s,end_s,label"]
    for index in range(TRIALS):
        windows += [f"eval{index},0,1,1", f"eval{index},1,2,-1"]
        segments.append(f"eval{index},1,2,{'bonafide' if index % 3 == 0 else 'spoof'}")
    (files / "eval.windows.csv").write_text("\n".join(windows) + "\n")
    (files / "segments.csv").write_text("\n".join(segments) + "\n")
    code, out, _ = run(
        capsys,
        *("evaluate", files / "eval.csv", files / "eval.protocol.csv", "--segments", files / "segments.csv"),
        *("--resolution", 0.5, "--json"),
    )
    extras = json.loads(out)["extras"]
    assert code == 0
    # A third of utterances is bona fide throughout but scored low in their second half: 1 of 4 bona fide moments.
    assert extras["range_eer"] == extras["segment_eer"] == pytest.approx((1 / 4 + 0) / 2)
    code, out, _ = run(
        capsys,
        *("evaluate", files / "eval.csv", files / "eval.protocol.csv", "--segments", files / "segments.csv"),
        *("--bootstrap", 20, "--cluster", "speaker_id", "--metric", "eer", "--quiet"),
    )
    assert code == 0
    assert "EER over time: 12.5000 % (interval " in out
    assert "over speaker_id)" in out


def test_published_figures_are_printed_to_the_last_digit(material, capsys):
    key = material / "asvspoof2019/ASVspoof2019.LA.cm.eval.trl.txt"
    asv = material / "asvspoof2019/ASVspoof2019.LA.asv.eval.gi.trl.scores.txt"
    for name, options, digits, expected in (
        ("RawGAT_ST_mul.LA19eval", ["--polarity", "higher-is-bonafide"], 4, ("1.0601", "0.033540")),
        ("moef_LA19eval", ["--polarity", "higher-is-bonafide", "--score-column", 3], 5, ("0.74802", "0.0212605")),
        ("ocsoftmax.LA19eval", ["--polarity", "higher-is-spoof"], 3, ("2.178", "0.05582")),
    ):
        figures = ("--metric", "eer", "--metric", "min_tdcf_legacy", "--asv-scores", asv)
        path = material / f"scores/{name}.scores.txt"
        code, out, _ = run(capsys, "evaluate", path, key, *options, *figures, "--digits", digits, "--quiet")
        assert code == 0
        assert f"{expected[0]} %" in out
        assert expected[1] in out
