"""Each of these goes wrong, or loses trials in silence, in a reader that trusts its input."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from corpora_examples import make_audio, unpack
from veravox import corpora
from veravox.apps.cli import main
from veravox.corpora import CORPORA
from veravox.corpora.partialspoof import read_segments
from veravox.corpora.reading.corpus import read_corpus, recognise
from veravox.corpora.reading.listing import list_audio
from veravox.corpora.reading.plain_pickle import load_npy_object
from veravox.corpora.reading.rows import read_fields, read_headed
from veravox.errors import ConfigurationError, CorpusError, VeravoxError

LA_KEY = "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"


def corpus_in(tmp_path, name):
    root = tmp_path / "data" / name
    root.mkdir(parents=True)
    return root, unpack(name, root)


def test_the_first_trial_of_a_key_without_header_survives(tmp_path):
    root, _ = corpus_in(tmp_path, "asvspoof5")
    assert read_corpus("asvspoof5", root, "train").protocol.utterance_ids[0] == "T_0000000000"


def test_missing_keys_are_named_with_the_download_that_holds_them(tmp_path):
    root, _ = corpus_in(tmp_path, "asvspoof2021_la")
    (root / "keys/LA/CM/trial_metadata.txt").unlink()
    with pytest.raises(CorpusError, match=r"LA-keys-full\.tar\.gz"):
        read_corpus("asvspoof2021_la", root)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("LA_0079 LA_T_1 - bonafide", "line 2: 4 columns where 5 were expected"),
        ("LA_0079 LA_T_1 - - A01 spoof", "line 2: 6 columns where 5 were expected"),
        ("LA_0079 LA_T_1 - spoof A01", "line 2: the label 'A01' is unknown; are columns shifted"),
        ("LA_0079 LA_T_1 - A01 -", "line 2: the label is missing"),
        ("LA_0079 LA_T_1138215 - - bonafide", "utterance_id must be unique; given more than once: 'LA_T_1138215'"),
    ],
)
def test_a_wrong_line_of_a_key_is_named_and_nothing_is_guessed(tmp_path, line, message):
    root, _ = corpus_in(tmp_path, "asvspoof2019_la")
    (root / LA_KEY).write_text(f"LA_0079 LA_T_1138215 - - bonafide\n{line}\n")
    with pytest.raises(CorpusError, match=message):
        read_corpus("asvspoof2019_la", root, "train")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00LA"])
def test_a_key_that_is_no_text_is_one_clear_line(tmp_path, content):
    root, _ = corpus_in(tmp_path, "asvspoof2019_la")
    (root / LA_KEY).write_bytes(content)
    with pytest.raises(CorpusError, match=r"cm\.train\.trn\.txt' is (empty|not UTF-8)"):
        read_corpus("asvspoof2019_la", root)


def test_windows_line_ends_tabs_and_a_byte_order_mark_do_no_harm(tmp_path):
    key = tmp_path / "key.txt"
    key.write_bytes("\ufeffLA_0079\tLA_T_1  - - bonafide \r\n\r\nLA_0079 LA_T_2 - A01 spoof\r\n".encode())
    rows = read_fields(key, ("speaker", "utterance", "_", "attack", "label"))
    assert rows.drop("line_number").rows() == [
        ("LA_0079", "LA_T_1", "-", "bonafide"),
        ("LA_0079", "LA_T_2", "A01", "spoof"),
    ]
    assert rows["line_number"].to_list() == [1, 3]


def test_a_quotation_mark_in_the_text_of_mlaad_swallows_no_rows(tmp_path):
    root, _ = corpus_in(tmp_path, "mlaad")
    reading = read_corpus("mlaad", root)
    assert len(reading.protocol) == 4
    assert '"Oh dear, cried the girl.' in reading.protocol.frame["transcript"].to_list()
    assert any("every trial here is spoof" in note for note in reading.notes)


def test_bona_fide_in_the_spelling_of_in_the_wild_is_not_lost(tmp_path):
    root, _ = corpus_in(tmp_path, "in_the_wild")
    labels = read_corpus("in_the_wild", root).protocol.frame["label"].to_list()
    assert labels == ["spoof", "spoof", "spoof", "bonafide"]


def test_a_missing_column_is_answered_with_the_nearest_one(tmp_path):
    root, _ = corpus_in(tmp_path, "in_the_wild")
    (root / "meta.csv").write_text("file,speaker,labels\n0.wav,x,spoof\n")
    with pytest.raises(
        CorpusError, match=r"no column 'label'; found: file, speaker, labels \(did you mean 'labels'"
    ):
        read_corpus("in_the_wild", root)


def test_an_unreadable_mp3_is_listed_by_the_scan_and_kept(tmp_path, capsys):
    root, _ = corpus_in(tmp_path, "fake_or_real")
    (root / "for-original/testing/fake/file2.mp3").write_bytes(b"ID3\x04 this is not sound")
    out = tmp_path / "for.csv"
    with pytest.raises(SystemExit) as stopped:
        main(["protocol", "make", "fake_or_real", str(root), "--out", str(out), "--scan", "--quiet"])
    assert stopped.value.code == 1
    said = capsys.readouterr()
    assert "file2.mp3" in said.err
    assert "6 trials" in said.out
    problems = (tmp_path / "for.problems.csv").read_text()
    assert "unreadable,for-original/testing/fake/file2.mp3" in problems
    with pytest.raises(SystemExit):
        main(["protocol", "make", "auto", str(root), "--out", str(out), "--scan", "--quiet", "--drop-failed"])
    assert "5 trials" in capsys.readouterr().out


def test_one_stem_in_several_folders_is_several_trials(tmp_path):
    root, _ = corpus_in(tmp_path, "wavefake")
    ids = read_corpus("wavefake", root).protocol.utterance_ids
    assert {"ljspeech_melgan/LJ001-0001_gen", "ljspeech_waveglow/LJ001-0001"} <= set(ids)


def test_links_are_followed_loops_once_and_dead_links_are_listed(tmp_path):
    real = make_audio(tmp_path / "elsewhere/real.wav")
    root = tmp_path / "pair"
    make_audio(root / "real/a.wav", 1)
    make_audio(root / "fake/b.wav", 2)
    (root / "real/link.wav").symlink_to(real)
    (root / "real/loop").symlink_to(root, target_is_directory=True)
    (root / "fake/dead.wav").symlink_to(tmp_path / "gone.wav")
    reading = read_corpus("auto", root)
    ids = reading.protocol.utterance_ids
    assert set(ids) == {"real/a", "real/link", "fake/b"}
    assert reading.missing == ["fake/dead.wav"]


def test_folders_that_are_links_to_one_folder_each_hold_their_trials(tmp_path):
    root, _ = corpus_in(tmp_path, "asvspoof2019_la")
    together = tmp_path / "flac"
    together.mkdir()
    for part in ("train", "dev", "eval"):
        flac = root / f"ASVspoof2019_LA_{part}/flac"
        for file in flac.iterdir():
            file.rename(together / file.name)
        flac.rmdir()
        flac.symlink_to(together, target_is_directory=True)
    reading = read_corpus("asvspoof2019_la", root)
    assert reading.missing == []
    assert all(os.path.isfile(path) for path in reading.protocol.audio_paths())


def test_hidden_files_other_files_and_endings_in_capitals(tmp_path):
    for name in ("A.WAV", "b.Flac", "._c.wav", ".hidden/d.wav", "e.txt", "sub.wav/f.mp3"):
        make_audio(tmp_path / name)
    assert list_audio(tmp_path).frame["path"].to_list() == ["A.WAV", "b.Flac", "sub.wav/f.mp3"]


def test_audio_converted_to_another_format_is_still_found(tmp_path):
    root, _ = corpus_in(tmp_path, "asvspoof2019_la")
    flac = root / "ASVspoof2019_LA_dev/flac/LA_D_1047731.flac"
    make_audio(flac.with_suffix(".wav"))
    flac.unlink()
    reading = read_corpus("asvspoof2019_la", root, "dev")
    assert reading.missing == []
    assert "ASVspoof2019_LA_dev/flac/LA_D_1047731.wav" in reading.protocol.frame["path"].to_list()


def test_a_name_that_is_not_utf8_is_read_and_said(tmp_path):
    make_audio(tmp_path / "real/a.wav")
    make_audio(tmp_path / "fake/b.wav")
    os.rename(tmp_path / "fake/b.wav", os.fsencode(tmp_path / "fake") + b"/b\xff.wav")
    reading = read_corpus("folder_pair", tmp_path)
    assert any("not UTF-8" in note for note in reading.notes)
    assert all(os.path.isfile(path) for path in reading.protocol.audio_paths())


def test_a_root_that_holds_several_corpora_or_none_is_answered_with_their_names(tmp_path):
    both = tmp_path / "both"
    both.mkdir()
    unpack("asvspoof2021_la", both)
    unpack("asvspoof2021_df", both)
    with pytest.raises(CorpusError, match=r"holds several corpora: asvspoof2021_df .* asvspoof2021_la"):
        recognise(both)
    with pytest.raises(CorpusError, match=r"both' \(asvspoof2021_\w+; the given folder is one level too high\)"):
        recognise(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="it is empty"):
        read_corpus("in_the_wild", tmp_path / "empty")
    with pytest.raises(CorpusError, match="does not exist"):
        read_corpus("auto", tmp_path / "none")


def test_an_option_that_the_corpus_does_not_have_is_answered_with_the_nearest(tmp_path):
    with pytest.raises(ConfigurationError, match="has no option 'versoin'; did you mean 'version'"):
        read_corpus("fake_or_real", tmp_path, options={"versoin": "norm"})
    with pytest.raises(ConfigurationError, match="unknown corpus 'in_the_wlid'; did you mean 'in_the_wild'"):
        read_corpus("in_the_wlid", tmp_path)


def test_a_table_may_name_its_audio_by_absolute_paths(tmp_path):
    here, there = make_audio(tmp_path / "lists/a.wav", 1), make_audio(tmp_path / "audio/b.wav", 2)
    (tmp_path / "lists/list.csv").write_text(f"file,label\n{here},real\n{there},fake\n/none/c.wav,fake\n")
    reading = read_corpus("table", tmp_path / "lists/list.csv")
    assert reading.protocol.audio_paths()[:2] == [str(here), str(there)]
    assert reading.missing == ["/none/c.wav"]
    pair = read_corpus("folder_pair", tmp_path, options={"bona_fide": str(here.parent), "spoof": "audio"})
    assert pair.protocol.audio_paths() == [str(here), str(there)]


def test_a_table_written_on_windows_finds_its_audio(tmp_path):
    make_audio(tmp_path / "clips/a.wav", 1)
    make_audio(tmp_path / "clips/b.wav", 2)
    (tmp_path / "list.csv").write_bytes(b"file,label\r\nclips\\a.wav,real\r\nclips\\b.wav,fake\r\n")
    reading = read_corpus("table", tmp_path / "list.csv")
    assert reading.missing == []
    assert reading.protocol.utterance_ids == ["clips/a", "clips/b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n", "has a header and no rows"),
        ("id,file,label\nx,a.wav,real\ny,,fake\n", "line 3: the path is missing"),
    ],
)
def test_a_table_without_rows_or_with_a_row_without_audio_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(CorpusError, match=message):
        read_corpus("table", tmp_path / "list.csv")


def test_zero_and_one_as_labels_are_never_guessed(tmp_path):
    make_audio(tmp_path / "a.wav")
    (tmp_path / "list.csv").write_text("file,label\na.wav,1\n")
    with pytest.raises(CorpusError, match="0 and 1, whose meaning differs"):
        read_corpus("table", tmp_path / "list.csv")
    reading = read_corpus("table", tmp_path / "list.csv", options={"bona_fide": "0", "spoof": "1"})
    assert reading.protocol.frame["label"].to_list() == ["spoof"]
    with pytest.raises(CorpusError, match="no column 'flie'; did you mean 'file'"):
        read_corpus("table", tmp_path / "list.csv", options={"path": "flie"})


def test_segment_labels_become_runs_in_seconds(tmp_path):
    root, _ = corpus_in(tmp_path, "partialspoof")
    segments = read_segments(root, "train").frame
    assert segments.filter(utterance_id="CON_T_0000001").select("start_s", "end_s", "label").rows() == [
        (0.0, 0.16, "bonafide"),
        (0.16, 0.48, "spoof"),
        (0.48, 0.64, "bonafide"),
        (0.64, 0.8, "spoof"),
    ]
    assert segments.filter(utterance_id="LA_T_1138215")["label"].to_list() == ["bonafide"]


@given(st.text(alphabet='ab0,|\t "\n\r\u2028_é', max_size=60), st.sampled_from([",", "|", "\t"]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_text_is_read_as_rows_or_refused_in_one_line(tmp_path_factory, text, separator, quoted):
    path = tmp_path_factory.getbasetemp() / "fuzz.csv"
    path.write_bytes(text.encode())
    for read in (
        lambda: read_fields(path, ("a", "b"), separator),
        lambda: read_headed(path, ("a",), separator, quoted),
    ):
        try:
            rows = read()
        except CorpusError:
            continue
        assert rows["line_number"].is_unique().all()


KEYED = [
    name
    for name in CORPORA.names()
    if any(isinstance(text, str) for text in CORPORA.facts(name).example.files.values())
]


@pytest.mark.parametrize("name", KEYED)
def test_a_damaged_key_is_read_or_refused_in_one_line(tmp_path, name):
    root, options = corpus_in(tmp_path, name)
    keys = [path for path, text in CORPORA.facts(name).example.files.items() if isinstance(text, str)]
    whole = {path: (root / path).read_bytes() for path in keys}

    @given(st.sampled_from(keys), st.data())
    @settings(max_examples=12, deadline=None, derandomize=True)
    def damage(path, data):
        text = whole[path]
        at = data.draw(st.integers(0, len(text)))
        more = data.draw(
            st.sampled_from([b"", b" ", b"\n", b"\t", b'"', b",", b"|", b"-", b"\xff", b"\x00", b"bonafide"])
        )
        gone = data.draw(st.integers(0, 12))
        (root / path).write_bytes(text[:at] + more + text[at + gone :])
        said = ""
        try:
            read_corpus(name, root / CORPORA.facts(name).example.root, options=options)
        except VeravoxError as error:
            said = str(error)
        finally:
            (root / path).write_bytes(text)
        assert "\n" not in said

    damage()


@given(st.binary(max_size=80), st.integers(0, 60))
@settings(max_examples=100, deadline=None)
def test_any_bytes_as_segment_labels_are_read_or_refused(tmp_path_factory, junk, at):
    path = tmp_path_factory.getbasetemp() / "fuzz.npy"
    np.save(path, np.array({"a": ["1", "0"]}, dtype=object), allow_pickle=True)
    good = path.read_bytes()
    path.write_bytes(good[:at] + junk + good[at + len(junk) :])
    said = ""
    try:
        load_npy_object(path)
    except CorpusError as error:
        said = str(error)
    assert "\n" not in said


@pytest.mark.parametrize("hop_s", ["0.01", "0.02", "0.04", "0.08", "0.16", "0.32", "0.64"])
def test_segment_labels_are_read_at_every_resolution_that_is_there(tmp_path, hop_s):
    root, _ = corpus_in(tmp_path, "partialspoof")
    labels = {"CON_T_0000001": np.array(["1", "0", "0", "1"]), "LA_T_1138215": np.array(["1"])}
    np.save(root / f"segment_labels/train_seglab_{hop_s}.npy", np.array(labels, dtype=object), allow_pickle=True)
    spoof = read_segments(root, "train", hop_s=hop_s).frame.filter(label="spoof")
    assert spoof["start_s"].to_list() == pytest.approx([float(hop_s)])
    assert spoof["end_s"].to_list() == pytest.approx([3 * float(hop_s)])
    with pytest.raises(CorpusError, match=r"'train_seglab_0\.05\.npy' is missing"):
        read_segments(root, "train", hop_s="0.05")


def test_every_name_of_the_public_face_is_there_and_every_corpus_is_on_its_page():
    assert all(getattr(corpora, name) is not None for name in corpora.__all__)
    page = (Path(__file__).parents[2] / "docs/corpora.md").read_text()
    assert [name for name in CORPORA.names() if f"| `{name}` |" not in page] == []


class Trap:
    def __reduce__(self):
        return (os.system, ("exit 1",))


@pytest.mark.parametrize("payload", [Trap(), [1, 2], {"a": 3}])
def test_segment_labels_that_are_more_than_labels_are_refused(tmp_path, payload):
    root, _ = corpus_in(tmp_path, "partialspoof")
    path = root / "segment_labels/train_seglab_0.16.npy"
    np.save(path, np.array(payload, dtype=object), allow_pickle=True)
    with pytest.raises(CorpusError, match=r"train_seglab_0\.16\.npy"):
        read_segments(root, "train")
    path.write_bytes(b"\x93NUMPY" + pickle.dumps(payload))
    with pytest.raises(CorpusError):
        read_segments(root, "train")


def test_the_real_protocols_of_2019_have_the_published_counts(tmp_path, material):
    keys = tmp_path / "LA/ASVspoof2019_LA_cm_protocols"
    keys.mkdir(parents=True)
    for name in ("train.trn", "dev.trl", "eval.trl"):
        real = material / f"asvspoof2019/ASVspoof2019.LA.cm.{name}.txt"
        (keys / real.name).symlink_to(real.resolve())
    reading = read_corpus("auto", tmp_path / "LA")
    assert [count.found for count in reading.counts] == [2580, 22800, 2548, 22296, 7355, 63882]
    assert reading.differences == []
    splits = dict(reading.protocol.frame.group_by("split").len().iter_rows())
    assert splits == {"train": 25380, "dev": 24844, "eval": 71237}
    assert len(reading.missing) == 121461


def test_a_difference_from_the_published_counts_says_what_is_missing_or_extra(tmp_path, capsys):
    root, _ = corpus_in(tmp_path, "asvspoof2019_la")
    with pytest.raises(SystemExit) as stopped:
        main(
            ["protocol", "make", "auto", str(root), "--split", "eval", "--out", str(tmp_path / "p.csv"), "--json"]
        )
    assert stopped.value.code == 0
    said = capsys.readouterr()
    assert "split eval: 2 spoof, published 63882: 63880 fewer; audio without a trial" in said.err
    assert "LA_E_9999999.flac" in said.err
    counts = {(count["part"], count["kind"]): count for count in json.loads(said.out)["counts"]}
    assert counts["split eval", "bonafide"]["found"] == 1
    assert counts["split eval", "bonafide"]["published"] == 7355


def test_trials_left_out_on_purpose_are_said_and_are_no_difference(tmp_path):
    root, _ = corpus_in(tmp_path, "asvspoof2021_df")
    reading = read_corpus("asvspoof2021_df", root)
    assert len(reading.protocol) == 2
    assert any("1 trials of other phases are left out" in note for note in reading.notes)
    assert [count.part for count in reading.counts] == ["phase eval", "phase eval"]


def test_a_guessed_layout_says_so_when_it_reads(tmp_path):
    root, options = corpus_in(tmp_path, "purdue")
    assert any("a guess" in note for note in read_corpus("purdue", root, options=options).notes)
    sure, options = corpus_in(tmp_path, "in_the_wild")
    assert not any("a guess" in note for note in read_corpus("in_the_wild", sure, options=options).notes)


def test_codecfake_is_read_by_its_label_files_which_know_more_than_the_names(tmp_path):
    root, _ = corpus_in(tmp_path, "codecfake")
    (root / "test/A1/p247_284.wav").unlink()
    make_audio(root / "test/A1/L1_nobody.wav")
    (root / "label/C1.txt").write_text("p225_001.wav real 0\nF01_p225_001.wav fake 1\n")
    reading = read_corpus("codecfake", root)
    rows = {row["utterance_id"]: row for row in reading.protocol}
    assert rows["A1/p247_284"]["label"] == "bonafide"  # a third column, the method, says L1 all the same
    assert rows["A1/p247_284"]["attack_id"] is None
    assert reading.missing == ["test/A1/p247_284.wav"]
    assert reading.extra == ["test/A1/L1_nobody.wav"]
    assert any("the folders of 'C1.txt' are not here" in note for note in reading.notes)
    assert any("a guess" in note for note in reading.notes)  # train/ has no label file
    (root / "label/train.txt").write_text("F03_SSB18370167.wav fake 3\nSSB18370167.wav real 0\n")
    assert not any("a guess" in note for note in read_corpus("codecfake", root).notes)


def test_the_bona_fide_that_codecfake_repeats_in_every_condition_are_trials_of_each(tmp_path):
    for path in ("C1/p225_001.wav", "C1/F01_p225_001.wav", "C2/p225_001.wav", "C2/F02_p225_001.wav"):
        make_audio(tmp_path / "test" / path)
    (tmp_path / "train").mkdir()
    reading = read_corpus("auto", tmp_path)
    assert reading.corpus == "codecfake"
    assert reading.protocol.utterance_ids == ["C1/F01_p225_001", "C1/p225_001", "C2/F02_p225_001", "C2/p225_001"]


def test_lines_above_the_header_of_diffssds_splits_are_not_its_header(tmp_path):
    root, options = corpus_in(tmp_path, "diffssd")
    splits = {row["utterance_id"]: row["split"] for row in read_corpus("diffssd", root, options=options).protocol}
    assert splits["grad_tts/sentence_0"] == "train"
    assert splits["ljspeech/LJ001-0001"] == "eval"


def test_a_voice_that_diffssd_clones_is_the_speaker_of_librispeech(tmp_path):
    root, _ = corpus_in(tmp_path, "diffssd")
    make_audio(root / "generated_speech/playht/speaker_84/sentence_7.wav")
    companion = tmp_path / "data/librispeech"
    unpack("librispeech", companion)
    rows = read_corpus("diffssd", root, options={"librispeech": str(companion)}).protocol.frame
    labels = rows.filter(speaker_id="84")["label"].to_list()
    assert sorted(labels) == ["bonafide", "spoof"]


def test_wavefake_without_its_outer_folder_is_the_same_trials(tmp_path):
    root, options = corpus_in(tmp_path, "wavefake")
    inner = root / "generated_audio"
    assert recognise(inner)[0] == "wavefake"
    whole = read_corpus("wavefake", root, options=options).protocol.utterance_ids
    assert read_corpus("wavefake", inner, options=options).protocol.utterance_ids == whole


def test_add_2023_guesses_only_where_train_and_dev_are_there(tmp_path):
    root, _ = corpus_in(tmp_path, "add2023")
    assert any("a guess" in note for note in read_corpus("add2023", root).notes)
    assert not any("a guess" in note for note in read_corpus("add2023", root, "eval").notes)


def test_companions_are_drawn_alike_by_everyone(tmp_path):
    root, options = corpus_in(tmp_path, "wavefake")
    names = []
    for seed in (0, 0, 1, 2, 3):
        drawn = read_corpus("wavefake", root, options={**options, "bona_fide_trials": 2, "seed": seed}).protocol
        names.append(drawn.where(label="bonafide").utterance_ids)
    assert names[0] == names[1] == sorted(names[0])
    assert all(len(item) == 2 for item in names)
    assert len({tuple(item) for item in names}) > 1


def test_only_the_keys_are_enough_for_whoever_says_so(tmp_path, capsys):
    root, _ = corpus_in(tmp_path, "asvspoof2019_la")
    (root / "ASVspoof2019_LA_dev/flac/LA_D_1047731.flac").unlink()
    arguments = ["protocol", "make", "auto", str(root), "--split", "dev", "--out", str(tmp_path / "p.csv")]
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 1
    assert "1 of 2 trials have no audio file" in capsys.readouterr().err
    assert "missing,ASVspoof2019_LA_dev/flac/LA_D_1047731.flac" in (tmp_path / "p.problems.csv").read_text()
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--keys-only"])
    assert stopped.value.code == 0
    assert "no audio" not in capsys.readouterr().err
    assert not (tmp_path / "p.problems.csv").exists()
