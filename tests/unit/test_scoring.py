"""A score is the same however it is computed, and says what it rests on."""

from __future__ import annotations

import json
import math
import os
import threading

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from polars.testing import assert_frame_equal

import veravox
from tiny import tiny_checkpoint
from veravox.apps.cli import main
from veravox.audio import WindowPolicy, find_speech, read_audio, window_policy
from veravox.audio.level import frame_powers
from veravox.batches import WindowChunk, prefetch, speech_windows
from veravox.errors import (
    AudioError,
    CheckpointError,
    ConfigurationError,
    OutputError,
    ProtocolError,
    ScoringError,
)
from veravox.models import read_checkpoint, write_checkpoint
from veravox.scoring import detector as scoring_detector, merge, output, score_to_file
from veravox.scoring.detector import detector_policy
from veravox.scoring.prediction import speech_shares
from veravox.scoring.verdict import most_spoof_like_span, quality_warnings
from veravox.tables import Protocol, Scores, protocol_from_paths, read_protocol, read_table

RATE = 16000


@pytest.fixture(scope="module")
def checkpoint():
    torch.set_num_threads(1)
    return tiny_checkpoint()


@pytest.fixture(scope="module")
def protocol(samples):
    whole = read_protocol(samples / "protocol.csv")
    return whole.with_frame(whole.frame.sample(24, seed=1))


@pytest.fixture(scope="module")
def scores(checkpoint, protocol):
    return veravox.score(checkpoint, protocol, windows=True, workers=1)


def by_speech(path: str, window_scores: list[float]) -> float:
    """Mean of windows' scores, each weighing as much as there is speech in it."""
    waveform = read_audio(path, 16000)
    _, _, cut = speech_windows(waveform, window_policy("sliding", 0.5))
    return float(np.average(window_scores, weights=speech_shares([frame_powers(one, 512) for one in cut])))


def test_a_score_is_the_weighted_sum_of_its_experts_in_every_window(checkpoint, protocol, scores):
    assert scores.experts == ["mel", "linear"]
    weights = scores.frame.select("gate_weight.mel", "gate_weight.linear").to_numpy()
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-6)
    path = protocol.audio_paths()[0]
    waveform, rate = soundfile.read(path, dtype="float32")
    verdict = veravox.score_waveform(checkpoint, waveform, rate)
    assert verdict.score == pytest.approx(scores.frame["score"][0], abs=1e-5)
    assert verdict.score == pytest.approx(by_speech(path, [window[2] for window in verdict.windows]), abs=1e-9)


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (7, 2), (64, 1)])
def test_a_score_does_not_depend_on_batch_or_neighbours(checkpoint, protocol, scores, batch_size, workers):
    again = veravox.score(checkpoint, protocol, batch_size=batch_size, workers=workers)
    assert np.allclose(again.frame["score"], scores.frame["score"], atol=1e-5)
    assert again.frame["utterance_id"].equals(scores.frame["utterance_id"])


def test_windows_cover_each_recording_and_average_to_its_score_by_speech(protocol, scores):
    assert scores.windows is not None
    ends = scores.windows.group_by("utterance_id").agg(pl.col("end_s").max())
    joined = scores.frame.join(ends, on="utterance_id", maintain_order="left")
    paths = dict(zip(protocol.utterance_ids, protocol.audio_paths(), strict=True))
    for name, score in scores.frame.select("utterance_id", "score").iter_rows():
        own = scores.windows.filter(pl.col("utterance_id") == name)["score"].to_list()
        assert score == pytest.approx(by_speech(paths[name], own), abs=1e-9)
    speech = [find_speech(read_audio(paths[name], RATE)).ends[-1] / RATE for name in joined["utterance_id"]]
    assert np.allclose(joined["end_s"], speech, atol=1e-6)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_a_killed_run_resumes_on_a_block_border_and_gives_the_same_file(
    tmp_path, checkpoint, protocol, monkeypatch, suffix
):
    monkeypatch.setattr(scoring_detector, "BLOCK_TRIALS", 5)
    monkeypatch.setattr(output, "BLOCK_TRIALS", 5)
    policy = detector_policy(checkpoint, "sliding")
    score_to_file(checkpoint, protocol, tmp_path / f"whole{suffix}", policy, windows=True)
    predictions = []

    def die_at_13(verdict):
        predictions.append(verdict)
        if len(predictions) == 13:
            raise MemoryError("killed")

    cut = tmp_path / f"cut{suffix}"
    with pytest.raises(MemoryError):
        score_to_file(checkpoint, protocol, cut, policy, windows=True, on_trial=die_at_13)
    assert not cut.exists()
    fresh = []
    monkeypatch.setattr(
        output, "verdicts", lambda *a, **k: (fresh.append(v) or v for v in scoring_detector.verdicts(*a, **k))
    )
    score_to_file(checkpoint, protocol, cut, policy, windows=True, resume=True)
    assert len(fresh) == len(protocol) - 10
    assert cut.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert not list(tmp_path.glob("*.parts"))
    fresh.clear()
    again = score_to_file(checkpoint, protocol, cut, policy, windows=True, resume=True)
    assert not fresh  # it was whole already
    assert again.frame["utterance_id"].to_list() == protocol.utterance_ids
    assert cut.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()


def test_resume_of_a_finished_command_tells_its_failures_again_and_scores_nothing(
    tmp_path, samples, monkeypatch, capsys
):
    clips = sorted((samples / "eval").rglob("*.flac"))[:3]
    for clip in clips:
        (tmp_path / clip.name).write_bytes(clip.read_bytes())
    (tmp_path / "broken.flac").write_bytes(b"no sound")
    command = ["score", str(tmp_path), "--out", str(tmp_path / "s.csv"), "--resume", "--workers", "1"]
    for turn in range(2):
        with pytest.raises(SystemExit) as stopped:
            main(command)
        assert stopped.value.code == 1
        told = capsys.readouterr().err
        assert "broken.flac" in told
        assert "4 files: " in told
        assert "1 failed" in told
        assert ("finished before" in told) == bool(turn)
        monkeypatch.setattr(output, "verdicts", lambda *a, **k: pytest.fail("scored again"))


def test_resume_refuses_blocks_of_another_run(tmp_path, checkpoint, protocol):
    policy = detector_policy(checkpoint, "sliding")
    with pytest.raises(MemoryError):
        _killed(checkpoint, protocol, tmp_path / "s.csv", policy)
    other = detector_policy(checkpoint, "first")
    with pytest.raises(ScoringError, match="without --resume"):
        score_to_file(checkpoint, protocol, tmp_path / "s.csv", other, resume=True)


def test_resume_refuses_blocks_made_under_another_prior(tmp_path, checkpoint, protocol):
    policy = detector_policy(checkpoint, "sliding")
    with pytest.raises(MemoryError):
        _killed(checkpoint, protocol, tmp_path / "s.csv", policy, prior=0.1)
    with pytest.raises(ScoringError, match="made with another prior"):
        score_to_file(checkpoint, protocol, tmp_path / "s.csv", policy, prior=0.9, resume=True)


def test_a_block_that_was_being_written_at_the_kill_is_scored_again(tmp_path, checkpoint, protocol):
    policy = detector_policy(checkpoint, "sliding")
    with pytest.raises(MemoryError):
        _killed(checkpoint, protocol, tmp_path / "s.csv", policy)
    (tmp_path / "s.csv.parts" / ".partial-x1.jsonl").write_text('{"utterance_id": "half')
    score_to_file(checkpoint, protocol, tmp_path / "s.csv", policy, resume=True)
    assert Scores.read(tmp_path / "s.csv").frame["utterance_id"].to_list() == protocol.utterance_ids


def _clip(path, source):
    path.write_bytes(source.read_bytes())
    os.utime(path, ns=(0, int(path.stat().st_size)))  # a time of its own


def test_resume_scores_a_recording_again_that_has_changed_since(tmp_path, samples, checkpoint, monkeypatch):
    monkeypatch.setattr(scoring_detector, "BLOCK_TRIALS", 2)
    monkeypatch.setattr(output, "BLOCK_TRIALS", 2)
    clips = sorted((samples / "eval").rglob("*.flac"))[:6]
    for index, clip in enumerate(clips[:5]):
        _clip(tmp_path / f"{index}.flac", clip)
    protocol = protocol_from_paths([tmp_path / f"{index}.flac" for index in range(5)])
    policy = detector_policy(checkpoint, "sliding")
    predictions = []

    def die_at_5(verdict):
        predictions.append(verdict)
        if len(predictions) == 5:
            raise MemoryError("killed")

    with pytest.raises(MemoryError):
        score_to_file(checkpoint, protocol, tmp_path / "s.csv", policy, on_trial=die_at_5)
    _clip(tmp_path / "0.flac", clips[5])
    fresh = []
    monkeypatch.setattr(
        output, "verdicts", lambda *a, **k: (fresh.append(v) or v for v in scoring_detector.verdicts(*a, **k))
    )
    order = []
    score_to_file(
        checkpoint,
        protocol,
        tmp_path / "s.csv",
        policy,
        resume=True,
        on_trial=lambda v: order.append(v.utterance_id),
    )
    assert order == protocol.utterance_ids
    assert [v.utterance_id for v in fresh] == [protocol.utterance_ids[index] for index in (0, 1, 4)]
    score_to_file(checkpoint, protocol, tmp_path / "whole.csv", policy)
    assert (tmp_path / "s.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    _clip(tmp_path / "3.flac", clips[0])  # after the end of the run, too
    score_to_file(checkpoint, protocol, tmp_path / "s.csv", policy, resume=True)
    assert (tmp_path / "s.csv").read_bytes() != (tmp_path / "whole.csv").read_bytes()


def test_a_second_run_on_one_output_is_refused_and_told_of_the_first(tmp_path, checkpoint, protocol):
    policy = detector_policy(checkpoint, "sliding")
    refused = []

    def second(verdict):
        if not refused:
            with pytest.raises(OutputError) as caught:
                score_to_file(checkpoint, protocol, tmp_path / "s.csv", policy)
            refused.append(str(caught.value))

    few = Protocol(protocol.frame[:3], name="first.csv", root=protocol.root)
    score_to_file(checkpoint, few, tmp_path / "s.csv", policy, on_trial=second)
    assert f"a run over first.csv (process {os.getpid()} on " in refused[0]
    assert len(Scores.read(tmp_path / "s.csv")) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.csv", "s.run.json"]


def test_an_output_that_is_a_folder_is_refused_before_anything_is_scored(tmp_path, checkpoint, protocol):
    (tmp_path / "s.csv").mkdir()
    predictions, policy = [], detector_policy(checkpoint, "sliding")
    with pytest.raises(OutputError, match="a folder"):
        score_to_file(checkpoint, protocol, tmp_path / "s.csv", policy, on_trial=predictions.append)
    assert not predictions


def _killed(checkpoint, protocol, out, policy, **options):
    def die(verdict):
        raise MemoryError

    score_to_file(checkpoint, protocol, out, policy, on_trial=die, **options)


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
def test_shards_merge_to_the_whole(tmp_path, checkpoint, protocol, suffix, capsys):
    policy = detector_policy(checkpoint, "sliding")
    whole = score_to_file(checkpoint, protocol, tmp_path / f"whole{suffix}", policy)
    files = []
    for index in (3, 1, 2):
        files.append(tmp_path / f"part{index}{suffix}")
        score_to_file(checkpoint, protocol, files[-1], policy, shard=(index, 3))
    merged = merge(files, tmp_path / f"merged{suffix}", protocol)
    with pytest.raises(SystemExit) as ended:
        main(["merge", *map(str, files), "--out", str(tmp_path / f"again{suffix}"), "--json"])
    assert ended.value.code == 0
    counts = {"out": str(tmp_path / f"again{suffix}"), "scores": len(protocol), "failures": 0}
    assert json.loads(capsys.readouterr().out) == counts
    assert (tmp_path / f"again{suffix}").read_bytes() == (tmp_path / f"merged{suffix}").read_bytes()
    assert merged.frame["utterance_id"].to_list() == protocol.utterance_ids
    assert np.allclose(merged.frame["score"], whole.frame["score"], atol=1e-5)
    with pytest.raises(ScoringError, match="missing '2'"):
        merge(files[:2], tmp_path / f"m{suffix}")
    with pytest.raises(ScoringError, match="doubled '1'"):
        merge([*files, files[1]], tmp_path / f"m{suffix}")
    assert not (tmp_path / f"m{suffix}").exists()


@pytest.mark.parametrize(("shards", "whole"), [(".csv", ".csv"), (".csv", ".parquet"), (".jsonl", ".parquet")])
def test_a_merged_table_is_that_of_one_run_to_the_last_column(tmp_path, checkpoint, protocol, shards, whole):
    policy, few = detector_policy(checkpoint, "sliding"), protocol.with_frame(protocol.frame[:4])
    options = {"windows": True, "batch_size": 1}
    score_to_file(checkpoint, few, tmp_path / f"one{whole}", policy, **options)
    parts = [tmp_path / f"part{index}{shards}" for index in (1, 2)]
    for index, part in enumerate(parts, 1):
        score_to_file(checkpoint, few, part, policy, shard=(index, 2), **options)
    merge(parts, tmp_path / f"merged{whole}")
    for suffix in (whole, f".windows{whole}"):
        one, merged = (read_table(tmp_path / f"{name}{suffix}", ScoringError) for name in ("one", "merged"))
        assert_frame_equal(merged, one, check_column_order=False)


@pytest.mark.parametrize("content", ["{", "[]", '{"shard": [1]}', '{"shard": ["a", 2], "trials": 2}'])
def test_a_damaged_record_is_named(tmp_path, checkpoint, protocol, content):
    policy, few = detector_policy(checkpoint, "sliding"), protocol.with_frame(protocol.frame[:2])
    score_to_file(checkpoint, few, tmp_path / "s.csv", policy)
    (tmp_path / "s.run.json").write_text(content)
    with pytest.raises(ScoringError, match="is no record of a scoring run"):
        merge([tmp_path / "s.csv"], tmp_path / "m.csv")


def test_a_trial_that_failed_in_two_parts_is_doubled(tmp_path):
    for name in "ab":
        Scores(pl.DataFrame({"utterance_id": [name], "score": [0.0]})).write(tmp_path / f"{name}.csv")
        (tmp_path / f"{name}.failures.csv").write_text("utterance_id,path,error\nx,x.wav,broken\n")
    with pytest.raises(ScoringError, match="1 trials failed in more than one part, first 'x'"):
        merge([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "m.csv")


def test_any_number_of_workers_comes_to_an_end():
    heard: list[WindowChunk] = []
    policy = window_policy("first", 1.0)
    run = threading.Thread(target=lambda: heard.extend(prefetch(["nowhere.wav"] * 150, policy, 120)), daemon=True)
    run.start()
    run.join(60)
    assert not run.is_alive()
    assert [piece.index for piece in heard] == list(range(150))


@pytest.mark.parametrize("prior", [0.0, 1.0, 1.5])
def test_a_prior_that_is_no_probability_of_both_classes_is_refused(checkpoint, protocol, prior):
    with pytest.raises(ScoringError, match="between 0 and 1"):
        veravox.score(checkpoint, protocol, prior=prior)


def test_a_file_of_samples_beyond_all_sense_fails_alone(tmp_path, checkpoint):
    speech = np.sin(np.arange(RATE) / 20).astype(np.float32)
    for name, gain in (("good", 0.5), ("loud", 1e9), ("absurd", 3e38)):
        soundfile.write(tmp_path / f"{name}.wav", speech * np.float32(gain), RATE, subtype="FLOAT")
    paths = protocol_from_paths(tmp_path / f"{name}.wav" for name in ("good", "loud", "absurd"))
    scores = veravox.score(checkpoint, paths, on_error="collect")
    assert len(scores) == 2
    assert "times full scale" in scores.failures["error"].item()


def test_more_shards_than_trials_leave_empty_shards_that_merge(tmp_path, checkpoint, protocol):
    policy, few = detector_policy(checkpoint, "first"), protocol.with_frame(protocol.frame[:2])
    files = [tmp_path / f"part{index}.parquet" for index in (1, 2, 3)]
    for index, file in enumerate(files, 1):
        score_to_file(checkpoint, few, file, policy, shard=(index, 3))
    assert sorted(len(Scores.read(file)) for file in files) == [0, 1, 1]
    assert merge(files, tmp_path / "all.parquet", few).frame["utterance_id"].to_list() == few.utterance_ids


def test_one_broken_file_leaves_all_other_results(tmp_path, checkpoint, protocol):
    broken = tmp_path / "broken.wav"
    broken.write_text("not audio")
    paths = [protocol.audio_paths()[0], str(broken), protocol.audio_paths()[1]]
    with pytest.raises(AudioError, match=r"broken\.wav"):
        veravox.score(checkpoint, protocol_from_paths(paths))
    scores = veravox.score(checkpoint, protocol_from_paths(paths), on_error="collect")
    assert scores.frame["utterance_id"].to_list() == [paths[0], paths[2]]
    assert scores.failures["utterance_id"].to_list() == [str(broken)]
    score_to_file(checkpoint, protocol_from_paths(paths), tmp_path / "s.csv", detector_policy(checkpoint, "first"))
    again = Scores.read(tmp_path / "s.csv")
    assert again.failures["path"].to_list() == [str(broken)]
    with pytest.raises(ScoringError, match="'raise' or 'collect'"):
        veravox.score(checkpoint, protocol, on_error="ignore")


def test_a_detector_that_gives_nan_raises_and_names_the_file(protocol):
    sick = tiny_checkpoint()
    with torch.no_grad():
        sick.model.mixture.experts["mel"].head[1].weight.fill_(math.nan)
    with pytest.raises(ScoringError, match=protocol.frame["path"][0]):
        veravox.score(sick, protocol)


def test_without_calibration_the_score_is_the_logit_and_says_so(protocol, scores):
    raw = veravox.score(tiny_checkpoint(calibrated=False), protocol)
    assert raw.frame["verdict"].unique().to_list() == ["uncalibrated"]
    assert raw.frame["p_spoof"].null_count() == len(raw)
    assert np.allclose(2.0 * raw.frame["score"] - 0.5, scores.frame["score"], atol=1e-5)


def test_the_most_spoof_like_ten_seconds_are_found():
    policy = WindowPolicy("sliding", 2 * RATE, 2 * RATE)
    logits = np.ones(30)
    logits[12:17] = -4.0
    starts = policy.starts(60 * RATE)
    assert most_spoof_like_span(logits, starts, policy) == (12, 16)
    assert most_spoof_like_span(logits[:5], starts[:5], policy) is None
    half = WindowPolicy("sliding", 2 * RATE, RATE)
    first, last = most_spoof_like_span(np.linspace(1, 0, 59), half.starts(60 * RATE), half)
    assert (half.starts(60 * RATE)[last] + 2 * RATE - half.starts(60 * RATE)[first]) / RATE == 10


def test_ten_faked_seconds_in_a_long_recording_do_not_drown(checkpoint, monkeypatch):
    from veravox.scoring.prediction import Prediction
    from veravox.scoring.verdict import VerdictRule

    policy = WindowPolicy("sliding", RATE // 2, RATE // 2)
    logits = np.full(400, 2.0)
    logits[100:120] = -3.0
    trial = Prediction(
        0, "x", policy.starts(200 * RATE), logits, np.stack([logits, logits], 1), np.full((400, 2), 0.5)
    )
    verdict = VerdictRule(checkpoint, policy).verdict(trial, "x", "x")
    assert verdict.score > 0
    assert verdict.verdict == "uncertain"
    assert verdict.most_spoof_like == (50.0, 60.0, pytest.approx(-6.5))
    assert "50.0 to 60.0 s alone would be judged spoof" in verdict.warnings[0].message


def tone(seconds, hertz=200.0, amplitude=0.3):
    times = np.arange(int(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hertz * times) * (1 + np.sin(2 * np.pi * 3 * times))).astype(np.float32)


def test_recordings_outside_the_training_audio_are_uncertain_and_say_why(checkpoint):
    limits = {"min_bandwidth_hz": 3000.0, "min_snr_db": 10.0, "max_clipped_share": 0.01, "max_dc_offset": 0.05}
    tests = {warning.test for warning in quality_warnings(_quality(tone(2.0)), limits)}
    assert "bandwidth" in tests
    assert "length" in {warning.test for warning in quality_warnings(_quality(tone(0.2)), limits)}
    assert "silence" in {
        warning.test for warning in quality_warnings(_quality(np.zeros(RATE, np.float32)), limits)
    }
    clipped = np.clip(tone(2.0, amplitude=3.0), -1, 1)
    assert "clipping" in {warning.test for warning in quality_warnings(_quality(clipped), limits)}
    assert "dc" in {warning.test for warning in quality_warnings(_quality(tone(2.0) * 0.5 + 0.3), limits)}
    silent = veravox.score_waveform(checkpoint, np.zeros(RATE, np.float32), RATE)
    assert silent.verdict == "uncertain"
    assert math.isfinite(silent.score)


def _quality(waveform):
    from veravox.audio import QualityMeter

    meter = QualityMeter(RATE)
    meter.update(waveform)
    return meter.result()


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((2, 100), np.float32), "1-D array"),
        (np.zeros(100, np.int16), "int16"),
        (np.zeros(0, np.float32), "no samples"),
        (np.array([0.0, np.nan, np.inf]), "2 samples that are not finite .* the first is number 1"),
    ],
)
def test_a_wrong_waveform_is_refused(checkpoint, waveform, message):
    with pytest.raises(AudioError, match=message):
        veravox.score_waveform(checkpoint, waveform, RATE)


def test_a_waveform_shorter_than_one_sample_is_refused(checkpoint):
    with pytest.raises(AudioError, match="too short to hold one sample"):
        veravox.score_waveform(checkpoint, np.array([0.5]), 384_000)


def test_another_sample_rate_or_level_barely_moves_the_score(checkpoint, protocol):
    waveform, rate = soundfile.read(protocol.audio_paths()[3], dtype="float64")
    reference = veravox.score_waveform(checkpoint, waveform, rate).score
    assert veravox.score_waveform(checkpoint, 0.1 * waveform, rate).score == pytest.approx(reference, abs=1e-3)


def test_a_checkpoint_comes_back_as_it_was_and_a_damaged_one_is_named(tmp_path, checkpoint, protocol, scores):
    path = write_checkpoint(checkpoint, tmp_path / "run")
    again = veravox.load_detector(tmp_path / "run", device="cpu")
    assert again.calibration == checkpoint.calibration
    assert len(again.sha256) == 64
    assert veravox.score(again, protocol).frame["score"].equals(scores.frame["score"])
    data = path.read_bytes()
    for cut in (0, 5, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "cut.safetensors").write_bytes(data[:cut])
        with pytest.raises(CheckpointError, match="cut short"):
            read_checkpoint(tmp_path / "cut.safetensors")
    with pytest.raises(CheckpointError, match="no detector 'mile-slm'"):
        veravox.load_detector("mile-slm")


def test_a_checkpoint_of_an_unknown_version_or_with_foreign_weights_is_refused(tmp_path, checkpoint):
    import safetensors.torch

    path = write_checkpoint(checkpoint, tmp_path / "run")
    with safetensors.safe_open(path, framework="pt") as opened:
        header = json.loads(opened.metadata()["veravox"])
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118

    def rewritten(header, weights):
        safetensors.torch.save_file(weights, tmp_path / "x.safetensors", {"veravox": json.dumps(header)})
        return tmp_path / "x.safetensors"

    with pytest.raises(CheckpointError, match="checkpoint version 99, this veravox reads up to 2"):
        read_checkpoint(rewritten(header | {"format_version": 99}, weights))
    fewer = dict(list(weights.items())[1:])
    with pytest.raises(CheckpointError, match="weights do not fit its own description"):
        read_checkpoint(rewritten(header, fewer))
    name = next(name for name, tensor in weights.items() if tensor.is_floating_point())
    with pytest.raises(CheckpointError, match="not finite"):
        read_checkpoint(rewritten(header, weights | {name: weights[name] * math.nan}))
    header["detector"]["gate"] = {"name": "transfomer"}
    with pytest.raises(CheckpointError, match="unknown gate 'transfomer'"):
        read_checkpoint(rewritten(header, weights))
    safetensors.torch.save_file(weights, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match="no veravox header"):
        read_checkpoint(tmp_path / "bare.safetensors")


def test_wrong_requests_are_refused_before_anything_is_scored(tmp_path, checkpoint, protocol):
    with pytest.raises(ConfigurationError, match="'random' is for training"):
        veravox.score(checkpoint, protocol, policy="random")
    with pytest.raises(OutputError, match="ending must be one of"):
        score_to_file(checkpoint, protocol, tmp_path / "s.xlsx", detector_policy(checkpoint, "first"))
    with pytest.raises(veravox.errors.ProtocolError, match="column 'path' is missing"):
        veravox.score(checkpoint, Protocol(pl.DataFrame({"utterance_id": ["a"]})))
    with pytest.raises(ConfigurationError, match="device 'gpu9' cannot be used"):
        veravox.load_detector(device="gpu9")


def test_another_policy_than_the_calibrations_is_warned_of(checkpoint):
    from veravox.scoring.verdict import VerdictRule

    assert VerdictRule(checkpoint, detector_policy(checkpoint, "sliding")).policy_warning is None
    assert "'first 0.5 s'" in VerdictRule(checkpoint, detector_policy(checkpoint, "first")).policy_warning


def test_rows_with_start_and_end_are_scored_as_parts(checkpoint, protocol, tmp_path):
    path = protocol.audio_paths()[0]
    waveform = read_audio(path, RATE)
    half_s = len(waveform) / RATE / 2
    rows = [
        {"utterance_id": "first", "path": path, "start_s": None, "end_s": half_s},
        {"utterance_id": "second", "path": path, "start_s": half_s, "end_s": None},
        {"utterance_id": "beyond", "path": path, "start_s": 0.0, "end_s": 900.0},
    ]
    parts = Protocol.from_rows(rows)
    parts.write(tmp_path / "parts.csv")
    for given in (parts, read_protocol(tmp_path / "parts.csv")):
        scores = veravox.score(checkpoint, given, on_error="collect")
        cut = round(half_s * RATE)
        expected = [
            veravox.score_waveform(checkpoint, half, RATE).score for half in (waveform[:cut], waveform[cut:])
        ]
        assert scores.frame["score"].to_list() == pytest.approx(expected, abs=1e-6)
        assert scores.frame["duration_s"].sum() == pytest.approx(len(waveform) / RATE)
        assert "the recording ends at" in scores.failures["error"][0]


@pytest.mark.parametrize(("start", "end"), [("0.5", "0.5"), ("-1", ""), ("soon", "1"), ("0", "inf")])
def test_a_part_that_cannot_be_is_refused(checkpoint, protocol, start, end):
    row = {"utterance_id": "x", "path": protocol.audio_paths()[0], "start_s": start, "end_s": end}
    with pytest.raises(ProtocolError, match=r"x"):
        veravox.score(checkpoint, Protocol.from_rows([row]))


def test_a_waveform_is_not_scored_in_training_mode_and_the_network_stays_as_it_is():
    checkpoint = tiny_checkpoint()
    checkpoint.model.train()
    before = {name: tensor.clone() for name, tensor in checkpoint.model.state_dict().items()}
    with pytest.raises(ScoringError, match="training mode"):
        veravox.score_waveform(checkpoint, np.ones(RATE, np.float32) / 2, RATE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in checkpoint.model.state_dict().items())


def test_foreign_errors_are_ours(checkpoint, protocol):
    tensor = torch.linspace(-0.5, 0.5, RATE, requires_grad=True)
    array = tensor.detach().numpy()
    assert veravox.score_waveform(checkpoint, tensor, RATE).score == (
        veravox.score_waveform(checkpoint, array, RATE).score
    )
    with pytest.raises(AudioError, match="times full scale"):
        veravox.score_waveform(checkpoint, array * 1e20, RATE)
    with pytest.raises(AudioError, match="positive number, not None"):
        veravox.score_waveform(checkpoint, array, None)
    with pytest.raises(ScoringError, match="batch_size must be at least 1, not 0"):
        veravox.score(checkpoint, protocol, batch_size=0)


def test_every_form_of_output_states_the_speech(checkpoint, protocol, tmp_path):
    score_to_file(checkpoint, protocol, tmp_path / "a.csv", detector_policy(checkpoint, "sliding"))
    score_to_file(checkpoint, protocol, tmp_path / "a.jsonl", detector_policy(checkpoint, "sliding"))
    table, lines = Scores.read(tmp_path / "a.csv").frame, Scores.read(tmp_path / "a.jsonl").frame
    assert_frame_equal(table, lines.select(table.columns))
    assert (table["speech_share"] * table["duration_s"]).to_list() == pytest.approx(table["speech_s"].to_list())
