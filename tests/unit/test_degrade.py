"""The challenge's suites: their operations, and the folders of files and protocols that they give."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
import soundfile

from veravox.apps.cli import main
from veravox.degradation.degraded_copies import degrade, file_seed
from veravox.degradation.measures import bandwidth_hz, click_response, delay_ms, measure, onset_ms, rt60_s, snr_db
from veravox.degradation.operations import PEAK, Degraded, Operation
from veravox.degradation.sheet import contact_sheet
from veravox.degradation.suites import SUITES, suite_operations
from veravox.errors import AugmentationError, ConfigurationError
from veravox.tables import Protocol

RATE_HZ = 16000
TASK_2 = [
    "aac 16k",
    "mp3 16k",
    "mp3 VBR",
    "mp3-aac 16k",
    "mp3-aac-mp3 16k",
    "opus 16k",
    "vorbis 16k",
    "encodec",
    "focalcodec",
    "semanticodec",
    "snac",
    "noise",
    "phone audio",
    "pitch shift",
    "time stretch",
    "resample down",
    "resample up",
    "speech filter",
]
TASK_3 = ["played", "reverb", "car", "played + reverb + car"]
RUNNABLE = [(suite, each.name) for suite in SUITES for each in suite_operations(suite) if each.missing() is None]
CHEAP = ("speech filter", "resample down")


@pytest.fixture(scope="module")
def speech(samples):
    return soundfile.read(samples / "dev/bonafide/asterisk-core-fr/u687f7975d7.flac", dtype="float32")[0]


@pytest.fixture
def trials(tmp_path, speech):
    """Three trials with ids that are awkward as file names, and a protocol of them."""
    folder = tmp_path / "trials"
    folder.mkdir()
    rows = []
    for index, name in enumerate(["007", "a/b c", "ü"]):
        soundfile.write(folder / f"{index}.wav", speech[index * 1000 : index * 1000 + 12000], RATE_HZ)
        label = "spoof" if index else "bonafide"
        rows.append({"utterance_id": name, "path": f"{index}.wav", "label": label, "note": f"n{index}"})
    Protocol.from_rows(rows).write(folder / "protocol.csv")
    return folder / "protocol.csv"


def operation_named(suite, name):
    return suite_operations(suite, [name])[0]


def test_the_suites_are_those_of_the_challenge_in_its_order():
    assert [operation.name for operation in suite_operations("safe-task2")] == TASK_2
    assert [operation.name for operation in suite_operations("safe-task3")] == TASK_3


@pytest.mark.parametrize(("suite", "name"), RUNNABLE)
def test_an_operation_keeps_time_is_repeatable_and_says_what_it_drew(suite, name, speech):
    operation = operation_named(suite, name)
    first, again, other = (operation(speech, RATE_HZ, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.waveform, again.waveform)
    assert first.parameters == again.parameters
    assert json.loads(json.dumps(first.parameters, allow_nan=False)) == first.parameters
    assert first.parameters
    duration_s = len(first.waveform) / first.sample_rate_hz
    if operation.keeps_time:
        assert duration_s == pytest.approx(len(speech) / RATE_HZ, abs=1e-3)
    if "16k" not in name:  # nothing is drawn for a fixed bit rate
        assert not np.array_equal(first.waveform, other.waveform)
    assert np.abs(first.waveform).max() <= 1


@pytest.mark.parametrize("name", ["aac 16k", "mp3 16k", "mp3-aac-mp3 16k", "opus 16k", "vorbis 16k"])
def test_coded_operations_spend_about_16_kbit_and_do_not_delay(name, speech):
    made = operation_named("safe-task2", name)(np.tile(speech, 2), RATE_HZ, 1)
    assert all(step["spent_bps"] == pytest.approx(16000, rel=0.25) for step in made.parameters["codecs"])
    assert abs(delay_ms(made.waveform, np.tile(speech, 2), RATE_HZ)) <= 0.5


def test_measured_noise_bands_and_rooms_are_those_intended(speech):
    noise = operation_named("safe-task2", "noise")(speech, RATE_HZ, 3)
    assert snr_db(noise.waveform, speech) == pytest.approx(noise.parameters["snr_db"], abs=0.3)
    band = operation_named("safe-task2", "speech filter")(speech, RATE_HZ, 3)
    assert bandwidth_hz(band.waveform, speech, RATE_HZ) == pytest.approx(band.parameters["high_hz"], abs=100)
    reverb = operation_named("safe-task3", "reverb")
    drawn = reverb(speech, RATE_HZ, 3).parameters["rt60_s"]
    assert rt60_s(click_response(reverb, 3, RATE_HZ), RATE_HZ) == pytest.approx(drawn, rel=0.12)


@pytest.mark.parametrize("name", ["played", "car"])
def test_what_is_laundered_starts_on_time_in_the_room_and_the_noise_intended(name, speech):
    operation = operation_named("safe-task3", name)
    made = operation(speech, RATE_HZ, 5)
    intended = operation.intended(made.parameters)
    found = measure(operation, 5, intended, made.waveform, speech, RATE_HZ)
    assert found["added_snr_db"] == pytest.approx(intended["added_snr_db"], abs=0.3)
    assert found["rt60_s"] == pytest.approx(intended["rt60_s"], rel=0.25)
    assert abs(found.get("delay_ms", found.get("onset_ms"))) <= 0.5
    everything = operation_named("safe-task3", "played + reverb + car")
    assert abs(onset_ms(click_response(everything, 5, RATE_HZ), RATE_HZ)) <= 0.5


def test_time_stretch_changes_the_duration_as_it_says(speech):
    made = operation_named("safe-task2", "time stretch")(speech, RATE_HZ, 2)
    assert len(made.waveform) == pytest.approx(len(speech) / made.parameters["tempo"], abs=1)


def test_a_result_above_full_scale_is_scaled_and_says_so(speech):
    double = Operation("double", lambda wave, rate_hz, rng: Degraded(wave * 4, rate_hz, {}))
    loud = speech / np.abs(speech).max() * np.float32(0.5)
    made = double(loud, RATE_HZ, 0)
    assert np.abs(made.waveform).max() == pytest.approx(PEAK, rel=1e-4)
    assert made.parameters["gain_db"] == pytest.approx(20 * np.log10(PEAK / 2), abs=0.01)


def test_a_failing_operation_is_named(speech):
    def fail(waveform, sample_rate_hz, rng):
        raise ValueError("no")

    with pytest.raises(AugmentationError, match="operation 'odd' failed: ValueError: no"):
        Operation("odd", fail)(speech, RATE_HZ, 0)


def test_an_operation_that_needs_something_is_reported_with_what_to_install(trials, tmp_path):
    result = degrade(Protocol.read(trials), "safe-task2", tmp_path / "out", operations=["semanticodec", "noise"])
    if "semanticodec" in result.skipped:
        assert "pip install" in result.skipped["semanticodec"]
        assert json.loads((tmp_path / "out" / "skipped.json").read_text()) == result.skipped
    assert result.protocol.frame["degradation"].unique().to_list().count("noise") == 1


def test_degrading_gives_a_protocol_with_parameters_and_seed_per_file(trials, tmp_path):
    out = tmp_path / "out"
    degrade(Protocol.read(trials), "safe-task2", out, operations=CHEAP, seed=4, include_original=True)
    protocol = Protocol.read(out / "protocol.csv")
    assert protocol.frame["degradation"].to_list() == ["original"] * 3 + list(reversed(CHEAP)) * 3
    assert protocol.frame["degraded_from"].to_list()[3:5] == ["007", "007"]
    assert protocol.frame["note"].to_list()[:3] == ["n0", "n1", "n2"]
    assert protocol.frame["label"].to_list()[3:] == ["bonafide"] * 2 + ["spoof"] * 4
    for path in protocol.audio_paths():
        assert soundfile.info(path).frames > 0
    row = protocol.frame.row(3, named=True)
    waveform, rate_hz = soundfile.read(protocol.audio_paths()[0], dtype="float32")
    seed = int(row["degradation_seed"])
    assert seed == file_seed(4, row["degradation"], "007")
    again = operation_named("safe-task2", row["degradation"])(waveform, rate_hz, seed)
    written, written_hz = soundfile.read(protocol.audio_paths()[3], dtype="float32")
    assert written_hz == again.sample_rate_hz
    assert np.allclose(written, again.waveform, atol=1 / 32768)
    assert json.loads(row["degradation_parameters"]) == again.parameters


def test_a_second_run_makes_only_what_is_missing_or_broken(trials, tmp_path):
    out, protocol = tmp_path / "out", Protocol.read(trials)
    first = degrade(protocol, "safe-task2", out, operations=CHEAP)
    files = [out / path for path in first.protocol.frame["path"]]
    before = [file.read_bytes() for file in files]
    files[0].unlink()
    files[1].write_bytes(before[1][:100])
    second = degrade(protocol, "safe-task2", out, operations=CHEAP)
    assert (first.made, first.kept, second.made, second.kept) == (6, 0, 2, 4)
    assert [file.read_bytes() for file in files] == before
    assert second.protocol.frame.equals(first.protocol.frame)
    assert not list(out.rglob(".partial-*"))


def test_two_processes_write_the_same_files_as_one(trials, tmp_path):
    protocol = Protocol.read(trials)
    one = degrade(protocol, "safe-task2", tmp_path / "one", operations=["noise"])
    two = degrade(protocol, "safe-task2", tmp_path / "two", operations=["noise"], workers=2)
    assert one.protocol.frame.equals(two.protocol.frame)
    for path in one.protocol.frame["path"]:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()


def test_a_file_does_not_depend_on_the_other_trials(trials, tmp_path):
    protocol = Protocol.read(trials)
    whole = degrade(protocol, "safe-task2", tmp_path / "whole", operations=["noise"])
    alone = degrade(protocol.where(utterance_id="ü"), "safe-task2", tmp_path / "alone", operations=["noise"])
    path = alone.protocol.frame["path"][0]
    assert path == whole.protocol.frame["path"][2]
    assert (tmp_path / "alone" / path).read_bytes() == (tmp_path / "whole" / path).read_bytes()


def test_a_folder_made_with_another_seed_is_refused(trials, tmp_path):
    degrade(Protocol.read(trials), "safe-task2", tmp_path / "out", operations=["noise"], seed=1)
    with pytest.raises(ConfigurationError, match="choose another folder"):
        degrade(Protocol.read(trials), "safe-task2", tmp_path / "out", operations=["noise"], seed=2)


@pytest.mark.parametrize(
    ("suite", "operation", "message"),
    [("safe-task1", "noise", "did you mean 'safe-task"), ("safe-task2", "nose", "did you mean 'noise'")],
)
def test_an_unknown_suite_or_operation_is_answered_with_the_nearest(trials, tmp_path, suite, operation, message):
    with pytest.raises(ConfigurationError, match=message):
        degrade(Protocol.read(trials), suite, tmp_path / "out", operations=[operation])


def test_the_command_reports_failures_by_file_and_keeps_the_rest(trials, tmp_path, capsys):
    (trials.parent / "1.wav").write_bytes(b"not audio")
    arguments = [str(trials), "--suite", "safe-task2", "--out", str(tmp_path / "out"), "--operation", "noise"]
    with pytest.raises(SystemExit) as stop:
        main(["degrade", *arguments, "--json", "--quiet"])
    shown = capsys.readouterr()
    assert stop.value.code == 1
    content = json.loads(shown.out)
    assert content["files"] == {"noise": 2}
    assert content["failures"][0]["utterance_id"] == "a/b c"
    assert "1.wav" in shown.err
    failures = pl.read_csv(tmp_path / "out" / "failures.csv", infer_schema=False)
    assert failures["degradation"].to_list() == ["noise"]


def test_the_command_draws_a_contact_sheet(trials, tmp_path, capsys):
    arguments = [str(trials), "--suite", "safe-task3", "--out", str(tmp_path / "out"), "--sheet-of", "a/b c"]
    with pytest.raises(SystemExit) as stop:
        main(["degrade", *arguments, "--quiet"])
    assert stop.value.code == 0
    assert "played + reverb + car" in capsys.readouterr().out
    page = (tmp_path / "out" / "contact-sheet.html").read_text(encoding="utf-8")
    assert page.count(">listen</a>") == 5
    assert page.count("RT60 ") == 6  # of three rooms, intended and measured
    assert (tmp_path / "out" / "contact-sheet.png").stat().st_size > 20_000


def test_a_contact_sheet_measures_what_was_intended(trials, tmp_path):
    source = Protocol.read(trials)
    result = degrade(source, "safe-task2", tmp_path / "out", operations=["noise", *CHEAP])
    _, _, panels = contact_sheet(source, result.protocol, "safe-task2", tmp_path / "out")
    assert [panel.name for panel in panels] == [
        "original",
        "noise",
        "resample down",
        "speech filter",
    ]
    noise = panels[1]
    assert noise.measured["snr_db"] == pytest.approx(noise.intended["snr_db"], abs=0.5)
    assert noise.measured["delay_ms"] == 0


def test_a_wrong_request_is_one_line_and_exit_code_2(trials, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["degrade", str(trials), "--suite", "safe-task9", "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("veravox: unknown suite 'safe-task9'")


@pytest.mark.parametrize(("suite", "name"), RUNNABLE)
def test_an_operation_works_on_short_and_silent_audio_at_usual_rates(suite, name):
    operation = operation_named(suite, name)
    for rate_hz in (8000, 16000, 48000):
        for source in (np.zeros(rate_hz // 5, np.float32), 0.3 * np.sin(np.arange(rate_hz // 10) / 5)):
            made = operation(source.astype(np.float32), rate_hz, 1)
            assert np.isfinite(made.waveform).all()
            if operation.keeps_time:
                assert len(made.waveform) / made.sample_rate_hz == pytest.approx(len(source) / rate_hz, abs=1e-3)


def bursts(rate_hz=16000):
    """Half a second of nothing, a tone, a pause of a second, a tone, half a second of nothing."""
    tone = (0.3 * np.sin(2 * np.pi * 220 * np.arange(rate_hz) / rate_hz)).astype(np.float32)
    quiet = np.zeros(rate_hz // 2, np.float32)
    return np.concatenate([quiet, tone, quiet, quiet, tone, quiet])


def silence_operation(name):
    (operation,) = suite_operations("silence", [name])
    return operation


def test_added_silence_and_room_tone_leave_the_recording_whole_between_them():
    source = bursts()
    for name in ("silence added", "room tone added"):
        made = silence_operation(name)(source, 16000, seed=5)
        before, after = (round(made.parameters[key] * 16000) for key in ("before_s", "after_s"))
        assert np.array_equal(made.waveform[before : before + len(source)], source)
        assert len(made.waveform) == before + len(source) + after
        ends = np.concatenate([made.waveform[:before], made.waveform[before + len(source) :]])
        level_db = 20 * np.log10(max(ends.std(), 1e-12) / np.sqrt(np.mean(source**2)))
        assert level_db < -200 if name == "silence added" else abs(level_db - made.parameters["level_db"]) < 1


def test_removed_silence_keeps_every_loud_sample_and_the_margin_alone():
    source = bursts()
    made = silence_operation("silence removed")(source, 16000, seed=5)
    margin = made.parameters["margin_s"]
    assert len(made.waveform) / 16000 == pytest.approx(2 + 4 * margin, abs=0.1)
    assert np.square(made.waveform).sum() == pytest.approx(np.square(source).sum(), rel=1e-5)


def test_gaps_are_where_their_parameters_say_and_nothing_else_changes():
    source = bursts() + 0.1
    made = silence_operation("gaps")(source, 16000, seed=2)
    silent = np.zeros(len(source), bool)
    for start_s, length_s in made.parameters["gaps_s"]:
        silent[round(start_s * 16000) : round((start_s + length_s) * 16000)] = True
    assert silent.any()
    assert np.array_equal(made.waveform == 0, silent)
    assert np.array_equal(made.waveform[~silent], source[~silent])


def test_silence_operations_take_a_silent_and_a_short_recording():
    for operation in suite_operations("silence"):
        for source in (np.zeros(8000, np.float32), bursts()[8000:8400]):
            assert np.isfinite(operation(source, 16000, seed=1).waveform).all()


def test_a_suite_named_as_an_operation_is_pointed_to():
    with pytest.raises(ConfigurationError, match="'silence' is a suite of its own; take it with --suite silence"):
        suite_operations("safe-task2", ["silence"])
