"""Protocols and scores keep what they were given, and refuse what they cannot mean."""

from __future__ import annotations

import math
import os

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st
from polars.testing import assert_frame_equal

from veravox.errors import OutputError, ProtocolError, ScoringError
from veravox.evaluation import read_key, read_scores
from veravox.files import write_text
from veravox.tables import (
    Calibration,
    Protocol,
    Scores,
    Segments,
    TrialList,
    files,
    protocol_from_paths,
    read_protocol,
    read_shard,
)


def rows(*labels):
    return [{"utterance_id": f"00{i}", "path": f"a/{i}.wav", "label": label} for i, label in enumerate(labels)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_ids_stay_text_and_further_columns_pass_through(tmp_path, suffix):
    protocol = Protocol.from_rows([{"utterance_id": "007", "speaker_id": "0012", "mood": "1e5", "label": None}])
    protocol.write(tmp_path / f"p{suffix}")
    again = read_protocol(tmp_path / f"p{suffix}")
    assert list(again) == [{"utterance_id": "007", "speaker_id": "0012", "mood": "1e5", "label": None}]


@pytest.mark.parametrize(
    ("word", "label"),
    [
        *((word, "bonafide") for word in ("bonafide", "bona-fide", " Genuine ", "REAL", "human", "target")),
        *((word, "spoof") for word in ("spoof", "fake", "Deepfake", "synthetic")),
    ],
)
def test_labels_of_the_wild_become_the_standard_ones(word, label):
    assert Protocol.from_rows(rows(word)).frame["label"].to_list() == [label]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([{"path": "a.wav"}], "column 'utterance_id' is missing; found: path"),
        (rows("real") + rows("fake"), "given more than once: '000'"),
        (rows("real", "humane"), "unknown labels 'humane'"),
        ([{"utterance_id": None, "path": "x"}], "rows without utterance_id: '1'"),
    ],
)
def test_a_wrong_protocol_is_refused_with_its_first_rows(table, message):
    with pytest.raises(ProtocolError, match=message):
        Protocol.from_rows(table)


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"utterance_id\n\xff\xfe\n", b'a,b\n"x,1\n2\n'])
def test_a_file_that_is_no_table_is_one_clear_line(tmp_path, content):
    (tmp_path / "p.csv").write_bytes(content)
    with pytest.raises(ProtocolError) as caught:
        read_protocol(tmp_path / "p.csv")
    assert "\n" not in str(caught.value)
    assert "p.csv" in str(caught.value)


def test_a_missing_file_and_a_foreign_ending_are_named(tmp_path):
    with pytest.raises(ProtocolError, match="does not exist"):
        read_protocol(tmp_path / "none.csv")
    with pytest.raises(OutputError, match=r"must be \.csv or \.parquet"):
        Protocol.from_rows(rows("real")).write(tmp_path / "p.xlsx")


def test_paths_start_from_the_protocols_folder_and_follow_it_to_another(tmp_path):
    (tmp_path / "data").mkdir()
    Protocol.from_rows(rows("real")).write(tmp_path / "data" / "p.csv")
    protocol = read_protocol(tmp_path / "data" / "p.csv")
    assert protocol.audio_paths() == [str(tmp_path / "data" / "a/0.wav")]
    protocol.write(tmp_path / "lists" / "q.parquet")
    moved = read_protocol(tmp_path / "lists" / "q.parquet").audio_paths()[0]
    assert (tmp_path / "lists" / moved).resolve() == (tmp_path / "data/a/0.wav").resolve()


def test_a_file_named_twice_is_one_trial_and_odd_names_survive():
    odd = "tape\udcff 1\n.wav"
    protocol = protocol_from_paths(["b.wav", odd, "b.wav"])
    assert protocol.audio_paths() == ["b.wav", odd]
    assert protocol.utterance_ids[1] == "tape\\xff 1\n.wav"


@given(st.integers(1, 60), st.integers(1, 9))
@settings(deadline=None)
def test_shards_make_the_whole(trials, count):
    protocol = Protocol.from_rows([{"utterance_id": str(i)} for i in range(trials)])
    parts = [name for index in range(count) for name in protocol.shard(index + 1, count).utterance_ids]
    assert parts == protocol.utterance_ids


def test_a_million_rows_write_and_read(tmp_path):
    n = 1_000_000
    frame = pl.DataFrame({"utterance_id": pl.Series(range(n)).cast(pl.String), "score": pl.Series(range(n)) / 7})
    scores = Scores(frame)
    scores.write(tmp_path / "s.csv")
    again = Scores.read(tmp_path / "s.csv")
    assert again.frame["score"].equals(scores.frame["score"])
    assert len(again.align(Protocol(frame.select("utterance_id")))) == n


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_a_score_that_is_not_finite_is_never_a_zero(value):
    with pytest.raises(ScoringError, match="1 scores are not finite, first 'b'"):
        Scores(pl.DataFrame({"utterance_id": ["a", "b"], "score": [0.0, value]}))


def test_scores_join_by_id_and_name_what_is_missing_or_extra():
    protocol = Protocol.from_rows(rows("real", "fake"))
    scores = Scores(pl.DataFrame({"utterance_id": ["001", "000"], "score": [1.0, 2.0]}))
    assert scores.align(protocol)["score"].to_list() == [2.0, 1.0]
    with pytest.raises(ScoringError, match="1 trials of 'protocol' have no score, first '001'"):
        Scores(scores.frame[1:]).align(protocol)
    with pytest.raises(ScoringError, match="1 scores have no trial"):
        scores.align(Protocol.from_rows(rows("real")))


def test_a_score_in_the_protocol_is_never_taken_for_the_systems():
    table = [row | {"score": "9.5", "p_spoof": "1"} for row in rows("real", "fake")]
    scores = Scores(pl.DataFrame({"utterance_id": ["001", "000"], "score": [-2.0, 1.0]}))
    assert scores.align(Protocol.from_rows(table))["score"].to_list() == [1.0, -2.0]


@pytest.mark.parametrize("value", ["1", "true"])
def test_a_column_of_numbers_is_chosen_from_by_its_text(value):
    column = [1, 2] if value == "1" else [True, False]
    protocol = Protocol(pl.DataFrame({"utterance_id": ["a", "b"], "self": column}))
    assert protocol.where(self=value).utterance_ids == ["a"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_name_in_brackets_is_a_name_and_no_pattern(tmp_path, suffix):
    folder = tmp_path / "[2024] set"
    for name in ("p[12]", "p1", "p2"):
        Protocol.from_rows([{"utterance_id": name, "label": "fake"}]).write(folder / f"{name}{suffix}")
        Scores(pl.DataFrame({"utterance_id": [name], "score": [0.0]})).write(folder / f"s-{name}{suffix}")
    assert read_protocol(folder / f"p[12]{suffix}").utterance_ids == ["p[12]"]
    assert read_key(folder / f"p[12]{suffix}").utterance_ids == ["p[12]"]
    for polarity in (None, "higher-is-bonafide"):
        scores = read_scores(folder / f"s-p[12]{suffix}", polarity)
        assert scores.frame["utterance_id"].to_list() == ["p[12]"]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_tables_may_lie_in_folders_whose_names_are_not_utf_8(tmp_path, suffix):
    folder = tmp_path / os.fsdecode(b"M\xfcnchen")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system takes names in UTF-8 alone")
    Protocol.from_rows(rows("fake")).write(folder / f"p{suffix}")
    assert read_key(folder / f"p{suffix}").utterance_ids == ["000"]
    Scores(pl.DataFrame({"utterance_id": ["a"], "score": [0.5]})).write(folder / f"s{suffix}")
    for polarity in (None, "higher-is-bonafide"):
        assert read_scores(folder / f"s{suffix}", polarity).frame["score"].to_list() == [0.5]
    write_text(folder / "page.html", f"<h1>{folder.name}</h1>")
    assert (folder / "page.html").read_text() == "<h1>M\\udcfcnchen</h1>"


def test_a_table_in_utf_16_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "p.csv").write_text("utterance_id,path,label\na,a.wav,spoof\n", encoding="utf-16")
    with pytest.raises(ProtocolError, match="UTF-16; save it as CSV in UTF-8"):
        read_protocol(tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "utterance_id;path;label\na;fake.flac;spoof\n",
            "has ';' between its columns; save it as CSV with commas",
        ),
        ("utterance_id\tlabel\na\tspoof\n", "has '\\t' between its columns"),
        ("utterance_id,path,label\na,fake.flac,spoof,extra\n", "line 2: 4 fields where the first line has 3"),
        (
            "utterance_id,path,label\nb,b.flac,spoof\n\na,fake.flac\n",
            "line 4: 2 fields",
        ),
        ('utterance_id,path,label\nb,"b,\nc",spoof\na,fake.flac\n', "line 4: 2 fields"),
    ],
)
def test_a_table_made_by_hand_is_refused_with_line_and_remedy(tmp_path, content, message):
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(ProtocolError) as caught:
        read_protocol(tmp_path / "p.csv")
    assert message in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_and_spaces_around_names_mean_nothing(tmp_path, end):
    lines = ["\ufeff utterance_id , path ,label", "", "a,fake.flac,spoof", "", ",,", '"b, c",x.flac,', "", ""]
    (tmp_path / "p.csv").write_text(end.join(lines), newline="")
    assert list(read_protocol(tmp_path / "p.csv")) == [
        {"utterance_id": "a", "path": "fake.flac", "label": "spoof"},
        {"utterance_id": "b, c", "path": "x.flac", "label": None},
    ]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_shard_read_alone_is_that_of_the_whole_however_the_file_is_cut(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(files, "BLOCK_BYTES", 64)
    monkeypatch.setattr(files, "BATCH_ROWS", 7)
    rows = [
        {"utterance_id": f'{i}, "x"\n{i}', "path": f"{i}.wav", "label": None, "mood": "a" * (i % 9)}
        for i in range(41)
    ]
    Protocol.from_rows(rows).write(tmp_path / f"p{suffix}")
    whole = read_protocol(tmp_path / f"p{suffix}")
    for index in range(1, 4):
        part, trials = read_shard(tmp_path / f"p{suffix}", index, 3)
        assert list(part) == list(whole.shard(index, 3))
        assert part.audio_paths() == whole.shard(index, 3).audio_paths()
        assert trials == TrialList.of(whole)
    with pytest.raises(ProtocolError, match="shard 4/3 does not exist"):
        read_shard(tmp_path / f"p{suffix}", 4, 3)


def test_a_shard_of_a_protocol_with_doubled_ids_is_refused_wherever_they_lie(tmp_path):
    frame = pl.DataFrame({"utterance_id": ["a", "b", "c", "a"], "path": ["x.wav"] * 4})
    frame.write_csv(tmp_path / "p.csv")
    with pytest.raises(ProtocolError, match="given more than once: 'a'"):
        read_shard(tmp_path / "p.csv", 2, 4)


def test_scores_as_json_lines_come_back_as_they_were(tmp_path):
    frame = pl.DataFrame(
        {
            "utterance_id": ["a", "b"],
            "path": ["a.wav", "b.wav"],
            "score": [0.1, -2.5],
            "verdict": ["uncertain", "spoof"],
            "p_spoof": [0.4, None],
            "windows": [2, 1],
            "worst_start_s": [None, 0.0],
            "worst_end_s": [None, 10.0],
            "worst_score": [None, -3.0],
            "warnings": ["length; level", None],
            "gate_weight.mel": [1.0, 0.25],
            "expert_score.mel": [0.1, None],
            "note": ["kept", None],
        }
    )
    failures = pl.DataFrame({"utterance_id": ["c"], "path": ["c.wav"], "error": ["cut short"]})
    windows = pl.DataFrame(
        {
            "utterance_id": ["a", "a", "b"],
            "start_s": [0.0, 1.0, 0.0],
            "end_s": [1.0, 2.0, 1.0],
            "score": [0.3, -0.1, -2.5],
        }
    )
    Scores(frame, failures, windows).write(tmp_path / "s.jsonl")
    again = Scores.read(tmp_path / "s.jsonl")
    assert_frame_equal(again.frame, frame, check_column_order=False)
    assert_frame_equal(again.failures, failures)
    assert_frame_equal(again.windows, windows)


def test_a_path_that_is_not_in_a_list_is_one_trial():
    assert protocol_from_paths("cases/fake.flac").utterance_ids == ["cases/fake.flac"]


def test_a_column_named_twice_is_refused(tmp_path):
    (tmp_path / "p.csv").write_text("utterance_id,label,label\na,spoof,bonafide\n")
    with pytest.raises(ProtocolError, match="names the column 'label' twice"):
        read_protocol(tmp_path / "p.csv")


def test_given_files_are_found_again_from_a_list_in_another_folder(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    monkeypatch.chdir(tmp_path)
    protocol = protocol_from_paths(["a.wav"])
    assert protocol.audio_paths() == ["a.wav"]
    protocol.write("lists/p.csv")
    assert os.path.normpath(read_protocol("lists/p.csv").audio_paths()[0]) == "a.wav"


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_never_replaced_by_one(tmp_path, kind):
    target = tmp_path / "out.csv"
    target.mkdir() if kind == "folder" else os.mkfifo(target)
    with pytest.raises(OutputError, match="a folder" if kind == "folder" else "not a regular file"):
        write_text(target, "x")
    assert target.is_dir() if kind == "folder" else target.is_fifo()
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_half_written_replaces_a_whole_file(tmp_path, monkeypatch):
    target = tmp_path / "s.csv"
    target.write_text("whole")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame, "write_csv", full)
    with pytest.raises(OutputError, match="no space is left"):
        Scores(pl.DataFrame({"utterance_id": ["a"], "score": [0.0]})).write(target)
    assert target.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [target]


def test_calibration_is_an_affine_map_with_two_thresholds():
    calibration = Calibration(scale=2.0, offset=-1.0, lower=-1.0, upper=2.0)
    assert calibration.apply(1.5) == 2.0
    assert [calibration.verdict(score) for score in (-1.1, -1.0, 1.9, 2.0)] == [
        "spoof",
        "uncertain",
        "uncertain",
        "bonafide",
    ]
    assert calibration.p_spoof(0.0) == 0.5
    assert calibration.p_spoof(0.0, prior=0.01) == pytest.approx(0.01)
    assert calibration.p_spoof(5000.0) == 0.0
    assert Calibration.from_dict(calibration.to_dict()) == calibration
    with pytest.raises(ScoringError, match="above the upper"):
        Calibration(1.0, 0.0, lower=1.0, upper=0.0)


def test_segments_must_run_forward():
    frame = pl.DataFrame({"utterance_id": ["a"], "start_s": [2.0], "end_s": [1.0], "label": ["fake"]})
    with pytest.raises(ProtocolError, match="end before they start"):
        Segments(frame)
