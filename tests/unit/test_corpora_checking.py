"""Leaks and damaged audio are found where they are, and nowhere else."""

from __future__ import annotations

import io
import json
import tempfile

import numpy as np
import polars as pl
import pytest
import soundfile
import soxr
from hypothesis import given, settings, strategies as st

from corpora_examples import make_audio
from veravox.apps.cli import main
from veravox.audio.decode import read_audio
from veravox.corpora.checking import near_duplicates as near_module, scan as scanning
from veravox.corpora.checking.check import check
from veravox.corpora.checking.fingerprint import fingerprint
from veravox.corpora.checking.fingerprint_store import FingerprintStore
from veravox.corpora.checking.near_duplicates import near_duplicates
from veravox.corpora.checking.scan import scan
from veravox.errors import CorpusError
from veravox.tables import Protocol, read_protocol


def kinds(report):
    return {finding.kind for finding in report.findings}


def protocol(rows, **options):
    return Protocol.from_rows(rows, **options)


def row(name, label="spoof", split="train", **others):
    return {"utterance_id": name, "label": label, "split": split, "path": f"{name}.wav", **others}


CLEAN = [
    row("a", "bonafide", "train", speaker_id="s1", text_id="t1", source_id="q1"),
    row("b", "spoof", "train", speaker_id="s1", text_id="t1", attack_id="A01"),
    row("c", "bonafide", "eval", speaker_id="s2", text_id="t2", source_id="q2"),
    row("d", "spoof", "eval", speaker_id="s2", text_id="t2", attack_id="A02"),
]


def test_a_protocol_without_leaks_has_no_faults():
    report = check([protocol(CLEAN)], audio=False)
    assert report.faults() == []
    assert [item["trials"] for item in report.sets] == [2, 2]


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        ("speaker_id", "s1", "speaker"),
        ("text_id", "t1", "text"),
        ("source_id", "q1", "source"),
        ("attack_id", "A01", "generator"),
        ("pair_of", "a", "pair"),
    ],
)
def test_each_leak_between_splits_is_found_and_named(column, value, kind):
    rows = [*CLEAN, row("e", "spoof", "eval", **{column: value})]
    report = check([protocol(rows)], audio=False)
    assert [finding.kind for finding in report.faults()] == [kind]
    assert value in report.faults()[0].items or "e" in report.faults()[0].items
    assert report.faults(allow=[kind]) == []


def test_training_and_test_sets_in_two_files_are_held_against_each_other(tmp_path):
    train = protocol([{**item, "split": "train"} for item in CLEAN[:2]], name="train.csv")
    test = protocol([row("x", "bonafide", "eval", speaker_id="s1"), row("a", "spoof", "eval")], name="test.csv")
    report = check([train, test], audio=False)
    assert {finding.kind for finding in report.faults()} == {"speaker", "utterance"}
    assert "1 of 1 speakers of test:eval are in train:train too" in report.of("speaker")[0].message
    assert report.of("speaker")[0].sets == ("train:train", "test:eval")


def test_a_shared_generator_says_how_much_of_the_test_set_is_known_and_how_to_accept_it(tmp_path, capsys):
    rows = [
        row("a", attack_id="A01", text_id="1"),
        row("b", "bonafide", text_id="2"),
        *(row(f"e{i}", split="eval", attack_id="A01" if i < 3 else f"A1{i}", text_id=f"t{i}") for i in range(5)),
        row("f", "bonafide", "eval", text_id="3"),
    ]
    protocol(rows).write(tmp_path / "p.csv")
    assert run("protocol", "check", tmp_path / "p.csv", "--no-audio") == 1
    said = capsys.readouterr().out
    assert "1 of 3 generators of eval are in train too (3 of 5 spoof trials): 'A01'" in said
    assert "--allow generator" in said.splitlines()[-1]
    assert run("protocol", "check", tmp_path / "p.csv", "--no-audio", "--allow", "generator") == 0
    assert "--allow" not in capsys.readouterr().out


def test_two_corpora_may_both_have_a_trial_called_0_and_two_files_one_name():
    first = protocol([row("0", "bonafide", "train", domain="in_the_wild")], name="a/list.csv")
    second = protocol([row("0", "bonafide", "eval", domain="add2022")], name="b/list.csv")
    report = check([first, second], audio=False)
    assert report.faults() == []
    assert [item["set"] for item in report.sets] == ["a/list.csv:train", "b/list.csv:eval"]
    again = check(
        [first, protocol([row("0", "bonafide", "eval", domain="in_the_wild")], name="c.csv")], audio=False
    )
    assert again.of("utterance")[0].items == ["in_the_wild/0"]


def test_unknown_speakers_are_said_and_are_no_leak():
    rows = [
        row("a", "bonafide", "train", speaker_id="unknown"),
        row("b", "bonafide", "eval", speaker_id="unknown"),
    ]
    report = check([protocol(rows)], audio=False)
    assert report.faults() == []
    without = [{**item, "speaker_id": None} for item in rows]
    assert any("have no speaker_id" in f.message for f in check([protocol(without)], audio=False).of("unknown"))


def test_labels_far_out_of_balance_or_of_one_kind_are_remarked_on():
    one = check([protocol([row("a"), row("b")])], audio=False)
    assert "every trial with a label is spoof" in one.of("balance")[0].message
    many = [row(f"s{i}") for i in range(30)] + [row("r", "bonafide")]
    assert "more than 20 to 1" in check([protocol(many)], audio=False).of("balance")[0].message


@pytest.fixture
def sounds(tmp_path):
    """Recordings: two equal ones in different containers, a silent, a short and a broken one, and a good one."""
    speech = np.random.default_rng(1).uniform(-0.5, 0.5, 16000).astype(np.float32)
    speech = (np.round(speech * 32767) / 32768).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", speech, 16000, subtype="PCM_16")
    soundfile.write(tmp_path / "b.flac", speech, 16000, subtype="PCM_16")
    soundfile.write(tmp_path / "silent.wav", np.zeros(16000, np.float32), 16000)
    soundfile.write(tmp_path / "short.wav", speech[:3000], 16000)
    soundfile.write(tmp_path / "good.wav", speech[::-1], 16000)
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "empty.wav").write_bytes(b"")
    return tmp_path


def with_audio(folder, *rows):
    columns = ("utterance_id", "path", "label", "split")
    return protocol([dict(zip(columns, item, strict=True)) for item in rows], root=folder)


def test_audio_that_will_not_do_is_found_by_opening_it(sounds):
    report = check(
        [
            with_audio(
                sounds,
                ("s", "silent.wav", "spoof", "train"),
                ("k", "short.wav", "bonafide", "train"),
                ("t", "text.wav", "spoof", "train"),
                ("e", "empty.wav", "spoof", "train"),
                ("m", "missing.wav", "spoof", "train"),
                ("g", "good.wav", "bonafide", "train"),
            )
        ]
    )
    assert report.of("silent")[0].items == ["s"]
    assert report.of("short")[0].items == ["k"]
    broken = " ".join(report.of("unreadable")[0].items)
    assert all(name in broken for name in ("text.wav", "empty.wav", "missing.wav"))
    assert "good.wav" not in broken


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (("bonafide", "train"), "duplicate"),
        (("bonafide", "eval"), "audio"),
        (("spoof", "train"), "label-conflict"),
    ],
)
def test_equal_sound_in_another_container_is_one_sound(sounds, second, kind):
    report = check([with_audio(sounds, ("a", "a.wav", "bonafide", "train"), ("b", "b.flac", *second))])
    assert kind in kinds(report)
    assert report.of(kind)[0].items == ["a = b"]
    assert "near-duplicate" not in kinds(report)


def test_a_property_that_tells_the_labels_apart_is_remarked_on(tmp_path):
    rows = []
    for index in range(20):
        make_audio(tmp_path / f"s{index}.mp3", index)
        make_audio(tmp_path / f"r{index}.wav", 100 + index)
        rows += [
            (f"s{index}", f"s{index}.mp3", "spoof", "train"),
            (f"r{index}", f"r{index}.wav", "bonafide", "train"),
        ]
    report = check([with_audio(tmp_path, *rows)], near_duplicates=False)
    messages = [finding.message for finding in report.of("one-sided")]
    assert "container mp3: 100% of spoof, 0% of bonafide" in messages
    assert not any("sample rate" in message for message in messages)


def encoded(waveform, kind):
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, 16000, format=kind)
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0]


CHANGES = {
    "quieter": lambda x: 0.1 * x,
    "cut by 8 ms": lambda x: x[128:],
    "cut by 37 ms": lambda x: x[592:],
    "padded": lambda x: np.concatenate([np.zeros(4811, np.float32), x]),
    "mp3": lambda x: encoded(x, "MP3"),
    "telephone band": lambda x: soxr.resample(soxr.resample(x, 16000, 8000), 8000, 16000),
    "noise at 20 dB": lambda x: (
        x + 0.1 * x.std() * np.random.default_rng(0).normal(size=len(x)).astype(np.float32)
    ),
}


@pytest.fixture(scope="session")
def clips(samples):
    """Every fourth bundled clip, with its fingerprint."""
    frame = read_protocol(samples / "protocol.csv").frame.gather_every(4)
    waves = [read_audio(samples / path, 16000) for path in frame["path"]]
    return frame, waves, [fingerprint(wave) for wave in waves]


def alike(prints, sets=None):
    """Near-duplicates among fingerprints in memory."""
    with tempfile.TemporaryDirectory() as folder, FingerprintStore(folder) as store:
        for codes, frames in prints:
            store.add(codes, frames)
        return near_duplicates(store, sets)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_keeps_its_fingerprint(clips, change):
    _, waves, prints = clips
    changed = [fingerprint(CHANGES[change](wave)) for wave in waves]
    both = prints + changed
    pairs = alike(both)
    found = pairs.filter(pl.col("second") == pl.col("first") + len(waves))
    assert len(found) >= 0.95 * len(waves)


def test_different_recordings_have_different_fingerprints(clips):
    frame, _, prints = clips
    pairs = alike(prints)
    origin = [pair or name for name, pair in frame.select("utterance_id", "pair_of").iter_rows()]
    assert all(origin[first] == origin[second] for first, second in pairs.select("first", "second").iter_rows())


@given(st.lists(st.integers(0, 60), min_size=0, max_size=6), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_any_fingerprints_can_be_compared(sizes, seed):
    rng = np.random.default_rng(seed)
    codes = [rng.integers(0, 5, size).astype(np.uint32) for size in sizes]
    frames = [np.sort(rng.integers(0, 9, size)).astype(np.uint16) for size in sizes]
    pairs = alike(list(zip(codes, frames, strict=True)))
    assert (pairs["first"] < pairs["second"]).all()
    assert pairs["share"].is_between(0, 1).all()


def test_every_copy_of_a_large_family_is_found_in_its_set_and_across(clips):
    codes, frames = clips[2][0]
    left_out = [slice(number, None, 17) for number in range(17)]
    copies = [(np.delete(codes, part), np.delete(frames, part)) for part in left_out]
    prints = [clips[2][1], *copies, clips[2][2], *copies]
    sets = np.array([0] * 18 + [1] * 18)
    pairs = alike(prints, sets)
    numbers = pairs.select("first", "second").to_numpy()
    assert set(numbers.ravel()) == set(range(36)) - {0, 18}
    across = numbers[sets[numbers[:, 0]] != sets[numbers[:, 1]]]
    assert set(across[:, 1]) == set(range(19, 36))
    sets[20] = -1
    assert 20 not in alike(prints, sets).select("first", "second").to_numpy()


def test_the_index_finds_the_same_however_it_is_cut_into_parts(clips, monkeypatch):
    prints = [*clips[2], *(fingerprint(0.3 * wave[100:]) for wave in clips[1])]
    whole = alike(prints)
    monkeypatch.setattr(near_module, "CODES_AT_ONCE", 500)
    monkeypatch.setattr(near_module, "KEYS_AT_ONCE", 300)
    assert alike(prints).equals(whole)
    assert len(whole) >= len(clips[1])


@pytest.mark.parametrize("waveform", [np.zeros(0), np.zeros(500), np.zeros(40000), np.full(40000, 0.3)])
def test_silence_and_shreds_have_no_fingerprint_and_no_error(waveform):
    codes, frames = fingerprint(waveform.astype(np.float32))
    assert len(codes) == len(frames)


def test_nearly_equal_sounds_that_nobody_declared_come_first(clips, tmp_path):
    one, two = clips[1][:2]
    for name, waveform in (("a", one), ("b", 0.5 * one), ("c", two), ("d", 0.5 * two)):
        soundfile.write(tmp_path / f"{name}.wav", waveform, 16000)
    rows = [
        row("a", "bonafide", path="a.wav"),
        row("b", "spoof", path="b.wav", pair_of="a"),
        row("c", "bonafide", path="c.wav"),
        row("d", "bonafide", path="d.wav"),
    ]
    found = check([protocol(rows, root=tmp_path)]).of("near-copy")[0]
    assert found.items[0].startswith("c ~ d")
    assert (
        "2 pairs within a set sound nearly alike, 1 declared by pair_of, 1 a bona fide with a spoof"
        in found.message
    )


def test_a_scan_goes_on_from_its_cache_and_sees_a_changed_file(sounds, monkeypatch):
    trials = with_audio(sounds, ("a", "a.wav", "spoof", "train"), ("t", "text.wav", "spoof", "train"))
    cache = sounds / "scan.parquet"
    first = scan(trials, cache)
    opened = []
    look = scanning.probe_file
    monkeypatch.setattr(scanning, "probe_file", lambda file: opened.append(file) or look(file))
    assert scan(trials, cache).equals(first)
    assert opened == []
    make_audio(sounds / "a.wav", 5)
    again = scan(trials, cache)
    assert [file.rsplit("/", 1)[-1] for file in opened] == ["a.wav"]
    assert again["content_hash"][0] != first["content_hash"][0]
    assert again["error"].to_list() == first["error"].to_list()


def test_an_interrupted_scan_keeps_what_it_has_seen(sounds, monkeypatch):
    rows = [(f"u{i}", "good.wav" if i else "a.wav", "spoof", "train") for i in range(2)]
    cache = sounds / "scan.parquet"
    look = scanning.probe_file

    def stop_at_good(file):
        if file.endswith("good.wav"):
            raise KeyboardInterrupt
        return look(file)

    monkeypatch.setattr(scanning, "BATCH", 1)
    monkeypatch.setattr(scanning, "probe_file", stop_at_good)
    with pytest.raises(KeyboardInterrupt):
        scan(with_audio(sounds, *rows), cache)
    assert pl.read_parquet(cache)["file"].str.ends_with("a.wav").to_list() == [True]


def test_several_processes_find_what_one_finds(sounds, monkeypatch):
    monkeypatch.setattr(scanning, "FEW_FILES", 0)
    rows = [(str(i), name, "spoof", "train") for i, name in enumerate(("a.wav", "b.flac", "text.wav", "good.wav"))]
    trials = with_audio(sounds, *rows)
    assert scan(trials, workers=2).equals(scan(trials, workers=1))


def test_a_cache_of_another_kind_is_refused(sounds):
    (sounds / "scan.parquet").write_text("no table")
    with pytest.raises(CorpusError, match="is no scan cache; delete it"):
        scan(with_audio(sounds, ("a", "a.wav", "spoof", "train")), sounds / "scan.parquet")


def run(*arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    return stopped.value.code


def test_the_bundled_samples_share_generators_between_splits_and_nothing_else(samples, capsys):
    known = ["--quiet", "--no-near", samples / "protocol.csv"]
    assert run("protocol", "check", *known) == 1
    assert "generator in two sets" in capsys.readouterr().out
    assert run("protocol", "check", *known, "--allow", "generator", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert {finding["kind"] for finding in report["findings"]} == {"generator"}
    assert sum(item["trials"] for item in report["sets"]) == 240


def test_a_protocol_that_is_none_is_a_fault_and_the_others_are_checked_all_the_same(tmp_path, capsys):
    (tmp_path / "bad.csv").write_text("utterance_id,label\na,spoof\na,spoof\n")
    Protocol.from_rows(CLEAN).write(tmp_path / "good.csv")
    code = run("protocol", "check", tmp_path / "bad.csv", tmp_path / "good.csv", "--no-audio")
    said = capsys.readouterr().out
    assert code == 1
    assert "given more than once: 'a'" in said
    assert "1 fault, " in said
    assert run("protocol", "check", tmp_path / "none.csv") == 2
    assert run("protocol", "check", tmp_path / "good.csv", "--allow", "speakers") == 2
    assert "did you mean 'speaker'" in capsys.readouterr().err


def test_a_leak_is_found_however_its_value_is_spelt():
    rows = [
        {"utterance_id": "a1", "label": "bonafide", "split": "train", "speaker_id": "SPK1", "text_id": "the cat"},
        {"utterance_id": "a2", "label": "spoof", "split": "train", "speaker_id": "spk2", "text_id": "Caf\u00e9"},
        {"utterance_id": "A1", "label": "bonafide", "split": "eval", "speaker_id": "spk1 ", "text_id": "The  Cat"},
        {"utterance_id": "b2", "label": "spoof", "split": "eval", "speaker_id": "\uff33\uff30\uff2b\uff12"}
        | {"text_id": "Cafe\u0301"},
    ]
    attacks = [None, "A01", None, "a01"]
    rows = [row | {"attack_id": attack} for row, attack in zip(rows, attacks, strict=True)]
    report = check([protocol(rows)], audio=False)
    shared = {finding.kind: list(finding.items) for finding in report.faults()}
    assert shared == {
        "speaker": ["SPK1 = spk1 ", "spk2 = \uff33\uff30\uff2b\uff12"],
        "text": ["Caf\\xe9 = Cafe\\u0301", "The  Cat = the cat"],
        "generator": ["A01 = a01"],
    }
