"""Files of others are read as they are written, and refused where their meaning would have to be guessed."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from veravox.errors import EvaluationError, ProtocolError, ScoringError, VeravoxError
from veravox.evaluation import phases_of, read_asv_scores, read_external_scores, read_key, read_scores, restrict
from veravox.tables import Protocol

UP = "higher-is-bonafide"


def written(tmp_path, text, name="scores.txt"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a1 0.5\na2 -1\n", "two.txt"),
        ("a1\t0.5\na2\t-1\n", "tabs.txt"),
        ("a1   0.5  \r\n a2 -1\r\n\n", "loose.txt"),
        ("S1 a1 0.5\nS1 a2 -1\n", "speaker.txt"),
        ("a1 A11 spoof 0.5\na2 - bonafide -1\n", "four.txt"),
        ("S1 a1 - A11 0.5\nS1 a2 - - -1\n", "five.txt"),
        ("filename\tcm-score\na1\t0.5\na2\t-1\n", "asvspoof5.tsv"),
        ("file,score\na1.flac,0.5\na2.flac,-1\n", "named.csv"),
        ('file,note,score\na1,"x, y",0.5\na2,"z",-1\n', "quoted.csv"),
        ('"id";"score";"note"\n"a1";0.5;"x; y"\n"a2";-1;"z"\n', "quoted_semicolons.csv"),
        ("id\tscore\tnote\na1\t0.5\t\na2\t-1\tx\n", "empty_last_cell.tsv"),
        ("a1;0.5\na2;-1\n", "semicolons.csv"),
    ],
)
def test_ids_and_scores_are_found(tmp_path, text, name):
    scores = read_external_scores(written(tmp_path, text, name), UP)
    assert scores.frame.select("utterance_id", "score").rows() == [("a1", 0.5), ("a2", -1.0)]


@pytest.mark.parametrize("ending", ["", ".wav"])
@pytest.mark.parametrize("key", ["utterance_id,label\n{0},bonafide\n{1},spoof\n", "{0} bonafide\n{1} spoof\n"])
def test_ids_may_end_in_an_audio_ending_in_the_scores_the_key_or_both(tmp_path, key, ending):
    names = f"a{ending}", f"b{ending}"
    protocol = read_key(written(tmp_path, key.format(*names), "key.csv" if "," in key else "key.txt"))
    scores = read_scores(written(tmp_path, "a.wav 0.5\nb.wav -1\n"), UP)
    kept, part = restrict(scores, protocol, ["label=spoof"])
    assert kept.align(part)["score"].to_list() == [-1.0]
    assert scores.align(protocol).select("utterance_id", "score").rows() == [(names[0], 0.5), (names[1], -1.0)]


def test_numbers_as_ids_are_ids(tmp_path):
    scores = read_external_scores(written(tmp_path, "0 0.25\n1 1e-5\n007 0.5\n"), UP)
    assert scores.frame.rows() == [("0", 0.25), ("1", 1e-5), ("007", 0.5)]


def test_parquet_is_read_too(tmp_path):
    pl.DataFrame({"name": ["a", "b"], "llr": [0.5, -1.0]}).write_parquet(tmp_path / "s.parquet")
    assert read_external_scores(tmp_path / "s.parquet", UP).frame["score"].to_list() == [0.5, -1.0]


def test_the_sign_is_turned_only_when_said(tmp_path):
    path = written(tmp_path, "a 0.5\nb -1\n")
    assert read_external_scores(path, "higher-is-spoof").frame["score"].to_list() == [-0.5, 1.0]
    for polarity in (None, "guess"):
        with pytest.raises(EvaluationError, match="its sign is unknown: say --polarity"):
            read_scores(path, polarity)


def test_two_columns_of_numbers_are_not_chosen_between(tmp_path):
    path = written(tmp_path, "a 0.9 0.1\nb 0.2 0.8\n")
    with pytest.raises(EvaluationError, match=r"2 columns of numbers .*column_3.* say which"):
        read_external_scores(path, UP)
    assert read_external_scores(path, UP, score_column=3).frame["score"].to_list() == [0.1, 0.8]
    assert read_external_scores(path, "higher-is-spoof", score_column="column_2").frame["score"].to_list() == [
        -0.9,
        -0.2,
    ]
    with pytest.raises(EvaluationError, match="has no column 4"):
        read_external_scores(path, UP, score_column=4)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a 1\na 2\n", ScoringError, "scored more than once, first 'a'"),
        ("a 1\nb nan\nc inf\n", ScoringError, "2 scores are not finite, first 'b', 'c'"),
        ("a 1\nb 2\nc x\n", EvaluationError, "the scores of 'c' are not numbers"),
        ("a 1\nb\n", EvaluationError, "lines '2' do not have 2 columns"),
        ("", EvaluationError, "is empty"),
        ("a\nb\n", EvaluationError, "single column"),
        ("a b\nc d\n", EvaluationError, "no column of numbers"),
    ],
)
def test_a_line_without_a_usable_score_is_named(tmp_path, text, error, message):
    with pytest.raises(error, match=message):
        read_external_scores(written(tmp_path, text), UP)


def test_bytes_that_are_no_text_and_missing_files_are_refused(tmp_path):
    (tmp_path / "s.txt").write_bytes(b"\xff\xfe\x00")
    for name in ("s.txt", "none.txt"):
        with pytest.raises(EvaluationError, match=name):
            read_external_scores(tmp_path / name, UP)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.text(alphabet='a1 ,;\t"\n.-é', max_size=40))
def test_any_text_is_either_read_or_refused_in_one_line(tmp_path, text):
    path = written(tmp_path, text, "fuzz.csv")
    for read in (lambda: read_scores(path, UP), lambda: read_key(path), lambda: read_asv_scores(path)):
        message = ""
        try:
            read()
        except VeravoxError as error:
            message = str(error)
        assert "\n" not in message


def test_own_files_need_no_polarity(tmp_path):
    path = written(tmp_path, "utterance_id,score,verdict\n007,0.5,bonafide\n", "own.csv")
    assert read_scores(path).frame["utterance_id"].to_list() == ["007"]


KEYS = {
    "ASVspoof 2019": ("LA_1 a - A11 spoof\nLA_2 b - - bonafide\n", "A11", None),
    "ASVspoof 2021 LA": (
        "LA_9 a alaw ita_tx A07 spoof notrim eval\nLA_2 b g722 loc_tx bonafide bonafide notrim progress\n",
        "A07",
        "alaw",
    ),
    "ASVspoof 2021 DF": (
        "LA_3 a nocodec asvspoof A14 spoof notrim progress traditional_vocoder - - - -\n"
        "T8 b low_m4a vcc2020 bonafide bonafide notrim eval bonafide - - - -\n",
        "A14",
        "nocodec",
    ),
    "ASVspoof 5": ("E_1 a F C04 2 7 AC1 A18 spoof -\nE_2 b M - 0 - - bonafide bonafide -\n", "A18", "C04"),
}


@pytest.mark.parametrize("release", KEYS)
def test_keys_of_the_challenges_are_known_by_their_columns(tmp_path, release):
    text, attack, codec = KEYS[release]
    key = read_key(written(tmp_path, text, "key.tsv"))
    first, second = key
    assert (first["utterance_id"], first["label"], first["attack_id"]) == ("a", "spoof", attack)
    assert (second["utterance_id"], second["label"], second["attack_id"]) == ("b", "bonafide", None)
    assert first.get("codec") == codec
    assert first["speaker_id"]


def test_in_the_wild_is_known_by_its_names(tmp_path):
    key = read_key(
        written(tmp_path, "file,speaker,label\n0.wav,Alec Guinness,spoof\n1.wav,X,bona-fide\n", "meta.csv")
    )
    assert [(row["utterance_id"], row["speaker_id"], row["label"]) for row in key] == [
        ("0", "Alec Guinness", "spoof"),
        ("1", "X", "bonafide"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a b c\n", "has 3 columns"), ("a b c d e\n", "column 5 does not hold labels")],
)
def test_a_key_of_no_known_form_is_refused(tmp_path, text, message):
    with pytest.raises(EvaluationError, match=message):
        read_key(written(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "filename\tcm-label\na\tbonafide\nb\tspoof\n",
        "spk\tfilename\tcm-label\tasv-label\nS1\ta\tbonafide\ttarget\nS2\tb\tspoof\tspoof\n",
        "spk filename cm-label asv-label\nS1 a bonafide target\nS2 a bonafide nontarget\nS1 b spoof spoof\n",
    ],
)
def test_keys_of_the_asvspoof_5_package_are_known_by_their_names(tmp_path, text):
    key = read_key(written(tmp_path, text, "key.tsv"))
    assert key.frame.select("utterance_id", "label").rows() == [("a", "bonafide"), ("b", "spoof")]
    scores = read_external_scores(written(tmp_path, "filename\tcm-score\na\t1\nb\t0\n"), UP)
    assert scores.align(key)["score"].to_list() == [1.0, 0.0]


def test_a_file_with_two_labels_in_a_key_of_track_2_is_refused(tmp_path):
    text = "spk filename cm-label asv-label\nS1 a bonafide target\nS2 a spoof spoof\n"
    with pytest.raises(ProtocolError, match="'a'"):
        read_key(written(tmp_path, text))


def test_a_trial_that_is_named_twice_in_a_key_is_refused(tmp_path):
    with pytest.raises(ProtocolError, match="given more than once: 'a'"):
        read_key(written(tmp_path, "a spoof\na bonafide\n"))


def test_asv_scores_of_other_phases_are_left_out_or_refused(tmp_path):
    trials = [
        (phase, kind)
        for phase in ("eval", "progress", "hidden_track")
        for kind in ("target", "nontarget", "spoof")
    ]
    lines = [f"spk u{i} alaw tx A07 {kind} notrim {phase} {i}\n" for i, (phase, kind) in enumerate(trials)]
    path = written(tmp_path, "".join(lines))
    key = Protocol.from_rows([{"utterance_id": "u", "label": "spoof", "split": "eval"}])
    assert read_asv_scores(path, phases_of(key)).target.tolist() == [0]
    assert read_asv_scores(path, ["hidden"]).target.tolist() == [6]
    assert read_asv_scores(path, ["eval", "progress", "hidden"]).spoof.tolist() == [2, 5, 8]
    for other in (None, ["test"]):
        with pytest.raises(EvaluationError, match=r"several phases in column 8 \(eval, hidden, progress\)"):
            read_asv_scores(path, other)
    made = Protocol.from_rows([{"utterance_id": "u", "split": "eval", "phase": "progress"}])
    assert phases_of(made) == ["progress"]
    assert phases_of(Protocol.from_rows([{"utterance_id": "u"}])) is None


def test_asv_scores_are_split_by_kind(tmp_path):
    text = "bonafide target 2\nbonafide nontarget 1\nA07 spoof 0\n"
    asv = read_asv_scores(written(tmp_path, text))
    assert (asv.target.tolist(), asv.non_target.tolist(), asv.spoof.tolist()) == ([2], [1], [0])
    nine = "".join(
        f"m-alaw u-{i} alaw ita_tx bonafide {kind} notrim eval {i}\n"
        for i, kind in enumerate(("target", "nontarget", "spoof"))
    )
    assert read_asv_scores(written(tmp_path, nine)).non_target.tolist() == [1]
    for wrong, message in (
        ("a b 1\n", "no column holds"),
        ("x target 1\n", "has no 'nontarget', 'spoof'"),
        ("x target a\n", "lines '1'"),
    ):
        with pytest.raises(EvaluationError, match=message):
            read_asv_scores(written(tmp_path, wrong))
