"""Constructed signals whose bandwidth, noise, clipping and offset are known measure as built."""

from __future__ import annotations

import csv
import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from recordings import speech_like
from veravox.audio import Quality, QualityMeter, active_level, read_audio, resample


def measure(waveform: np.ndarray, rate: int = 16000, block: int = 160_000) -> Quality:
    meter = QualityMeter(rate)
    for start in range(0, len(waveform), block):
        meter.update(waveform[start : start + block])
    return meter.result()


@pytest.fixture(scope="module")
def clips(samples):
    with open(samples / "protocol.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(row["label"], read_audio(samples / row["path"])) for row in rows[::4]]


@pytest.fixture(scope="module")
def speech(clips):
    return np.concatenate([clip for label, clip in clips if label == "bonafide"])


@settings(max_examples=20, deadline=None)
@given(block=st.integers(1, 40_000))
def test_figures_do_not_depend_on_the_block_size(block):
    waveform = speech_like(2.0, 16000)[: 20_000 + block % 977, 0]
    if block < 50:
        waveform = waveform[:1500]
    one, other = (
        {name: -1.0 if figure is None else figure for name, figure in dataclasses.asdict(quality).items()}
        for quality in (measure(waveform), measure(waveform, block=block))
    )
    assert one == pytest.approx(other, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("cut_hz", [2000, 3400, 4000])
def test_a_low_pass_is_found(speech, cut_hz):
    narrow = resample(resample(speech, 16000, 2 * cut_hz), 2 * cut_hz, 16000)
    assert 0.9 * cut_hz < measure(narrow).bandwidth_hz <= cut_hz + 50
    assert measure(speech).bandwidth_hz > 6000


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_added_noise_is_measured_and_never_flattered(speech, snr_db):
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    noisy = speech + noise * np.float32(10 ** ((active_level(speech) - snr_db) / 20))
    assert snr_db - 4 < measure(noisy).snr_db < snr_db + 0.5
    assert measure(speech).snr_db > 25


@pytest.mark.parametrize("limit", [0.5, 0.3, 0.1])
def test_flat_tops_are_counted_also_after_resampling(speech, limit):
    clip = speech[:48000]
    peak = np.abs(clip).max()
    truth = np.mean(np.abs(clip) >= limit * peak)
    assert measure(clip).clipped_share == 0.0
    assert measure(np.clip(clip, -limit * peak, limit * peak)).clipped_share == pytest.approx(truth, rel=0.15)
    fine = resample(clip, 16000, 44100)
    ringing = resample(np.clip(fine, -limit * peak, limit * peak), 44100, 16000)
    assert 0.4 * truth < measure(ringing).clipped_share < 1.1 * truth


def test_offset_and_peak_are_those_of_the_samples():
    waveform = speech_like(2.0, 16000)[:, 0] * 0.5 + np.float32(0.1)
    quality = measure(waveform)
    assert quality.dc_offset == pytest.approx(waveform.mean(), abs=1e-5)
    assert quality.peak_dbfs == pytest.approx(20 * np.log10(np.abs(waveform).max()), abs=1e-4)
    assert quality.active_level_dbfs == pytest.approx(active_level(waveform), abs=0.01)


def test_digital_silence_is_told_from_a_quiet_room():
    voice, room = speech_like(2.048, 16000)[:, 0], np.random.default_rng(0).standard_normal(32768) * 1e-4
    assert measure(np.concatenate([voice, np.zeros(32768, np.float32)])).silence_share == pytest.approx(
        0.5, abs=0.01
    )
    assert measure(np.concatenate([voice, room.astype(np.float32)])).silence_share == 0.0


@pytest.mark.parametrize("samples", [0, 1, 100, 3000, 32000])
def test_silence_of_any_length_measures_as_nothing(samples):
    quality = measure(np.zeros(samples, np.float32))
    assert quality.duration_s == samples / 16000
    assert (quality.speech_s, quality.bandwidth_hz, quality.snr_db, quality.clipped_share) == (0.0, 0.0, None, 0.0)
    assert quality.peak_dbfs == quality.active_level_dbfs == float("-inf")
    assert quality.silence_share == (1.0 if samples else 0.0)


def test_tone_hum_and_noise_hold_no_speech():
    t = np.arange(80_000) / 16000
    for waveform in (
        0.3 * np.sin(2 * np.pi * 440 * t),
        0.1 * np.sin(2 * np.pi * 50 * t) + 0.03 * np.sin(2 * np.pi * 150 * t),
        0.1 * np.random.default_rng(0).standard_normal(80_000),
    ):
        assert measure(waveform.astype(np.float32)).speech_s == 0.0


@pytest.mark.parametrize("gain", [0.1, 3.0])
def test_only_levels_move_with_the_level(clips, gain):
    for _, clip in clips[:10]:
        one, other = measure(clip), measure(clip * np.float32(gain))
        assert other.speech_s == pytest.approx(one.speech_s, abs=0.07)
        assert other.bandwidth_hz == pytest.approx(one.bandwidth_hz, abs=200)
        assert one.snr_db is not None
        if other.snr_db is not None:  # pauses that fall under a 16-bit step count as digital silence
            assert other.snr_db == pytest.approx(one.snr_db, abs=0.1)
        else:
            assert one.snr_db > 40
        assert other.active_level_dbfs == pytest.approx(one.active_level_dbfs + 20 * np.log10(gain), abs=0.1)


def test_speech_on_the_scale_of_integers_keeps_its_bandwidth(speech):
    quiet, loud = measure(speech[:160_000] * 0.5), measure(speech[:160_000] * 2.0**31)
    assert loud.bandwidth_hz == pytest.approx(quiet.bandwidth_hz, abs=200)
    assert loud.speech_s == pytest.approx(quiet.speech_s)


def test_bona_fide_and_spoof_clips_measure_alike(clips):
    by_label = {label: [measure(clip) for own, clip in clips if own == label] for label in ("bonafide", "spoof")}
    for name, most in (("snr_db", 6.0), ("bandwidth_hz", 1500.0), ("active_level_dbfs", 4.0), ("speech_s", 0.4)):
        medians = [np.median([getattr(quality, name) for quality in own]) for own in by_label.values()]
        assert abs(medians[0] - medians[1]) < most, name
    speech_shares = [quality.speech_s / quality.duration_s for own in by_label.values() for quality in own]
    assert np.percentile(speech_shares, 5) > 0.25
    assert all(own.silence_share == 0.0 for own in by_label["bonafide"])


def test_another_rate_measures_alike():
    one, other = (measure(speech_like(3.0, rate)[:, 0], rate) for rate in (16000, 8000))
    assert other.speech_s == pytest.approx(one.speech_s, abs=0.2)
    assert other.bandwidth_hz <= 4000


def test_an_offset_is_not_taken_for_clipping(clips):
    for _, clip in clips[:4]:
        quiet = 0.5 * clip / np.abs(clip).max()
        meters = [QualityMeter(), QualityMeter()]
        for meter, offset in zip(meters, (0.0, 0.2), strict=True):
            meter.update(quiet + np.float32(offset))
        plain, moved = (meter.result() for meter in meters)
        assert moved.dc_offset == pytest.approx(0.2, abs=0.01)
        assert moved.clipped_share == pytest.approx(plain.clipped_share, abs=0.002)
