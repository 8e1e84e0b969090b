"""Silence around and between speech is no evidence, wherever a recording starts."""

from __future__ import annotations

import numpy as np
import pytest

import veravox
from veravox.audio import SpeechFinder, find_speech, read_audio, window_policy
from veravox.batches import Trial, read_windows, speech_windows

RATE = 16000
FAKE = "eval/spoof/open-jtalk/u11a46f01f6.flac"


@pytest.fixture(scope="module")
def voice(samples):
    return read_audio(samples / FAKE)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.float32)


def room_tone(seconds: float) -> np.ndarray:
    steps = np.random.default_rng(0).integers(-1, 2, round(seconds * RATE))
    return (steps / 2**15).astype(np.float32)


def kept(waveform: np.ndarray) -> np.ndarray:
    return np.concatenate(list(find_speech(waveform).keep([waveform])))


@pytest.mark.parametrize("hush", [silence, room_tone])
@pytest.mark.parametrize(("before_s", "after_s"), [(0.5, 0.0), (0.33331, 0.0), (0.0, 6.0), (30.0001, 3.0)])
def test_silence_before_and_after_leaves_the_kept_samples_as_they_were(voice, hush, before_s, after_s):
    padded = np.concatenate([hush(before_s), voice, hush(after_s)])
    assert np.array_equal(kept(padded), kept(voice))


def test_the_middle_of_a_long_pause_is_left_out_and_windows_say_where_they_lie(voice):
    first, last = find_speech(voice).starts[0], find_speech(voice).ends[0]
    twice = np.concatenate([voice, silence(20.0), voice])
    speech = find_speech(twice)
    assert speech.starts.tolist() == [first, len(voice) + 20 * RATE + first - RATE // 4]
    assert speech.ends.tolist() == [last + RATE // 4, len(voice) + 20 * RATE + last]
    assert speech.span(0, speech.samples) == (first, speech.ends[-1])
    starts, ends, windows = speech_windows(twice, window_policy("sliding", 0.5))
    assert len(windows) == 4  # of 1.9 s, not of 21.8 s
    assert (starts[0], ends[-1]) == (first, speech.ends[-1])
    assert starts == sorted(starts)
    assert all(end - start >= RATE // 2 for start, end in zip(starts, ends, strict=True))


def test_a_short_pause_stays(voice):
    joined = np.concatenate([kept(voice), silence(0.4), kept(voice)])
    assert len(find_speech(joined).starts) == 1
    assert len(kept(joined)) == pytest.approx(len(joined), rel=0.01)


def test_a_click_is_no_speech(voice):
    click = silence(0.5)
    click[1000:1008] = 0.9
    speech = find_speech(np.concatenate([click, silence(1), voice]))
    assert speech.starts[0] >= round(1.5 * RATE)


def test_a_recording_without_speech_is_kept_whole():
    for waveform in (silence(1.0), silence(0.0001)):
        assert np.array_equal(kept(waveform), waveform)


def test_blocks_change_nothing_and_a_long_recording_is_found_to_2_ms(voice):
    padded = np.concatenate([silence(1.0), voice, silence(2.0)])
    finder = SpeechFinder()
    for block in np.array_split(padded, 7):
        finder.update(block)
    coarse, exact = finder.result(), find_speech(padded)
    assert np.array_equal(finder.result(padded).starts, exact.starts)
    assert abs(coarse.starts - exact.starts).max() <= 32
    assert abs(coarse.ends - exact.ends).max() <= 32


def test_only_sliding_windows_leave_silence_out(voice):
    padded = np.concatenate([silence(3.0), voice])
    first = next(iter(read_windows(0, Trial(padded), window_policy("first", 2.0), measure=False)))
    assert (first.starts, float(np.abs(first.windows).max())) == ([0], 0.0)


@pytest.mark.parametrize("name", ["veravox-base", "mile-slim"])
def test_silence_and_room_tone_change_no_score(samples, voice, name):
    detector = veravox.load_detector(name, "cpu")
    alone = detector.score_waveform(voice, RATE)
    for padded in (
        np.r_[silence(0.5), voice],
        np.r_[voice, room_tone(6.0)],
        np.r_[silence(30), voice, silence(30)],
    ):
        verdict = detector.score_waveform(padded, RATE)
        assert verdict.score == pytest.approx(alone.score, abs=0.05)
        assert verdict.verdict == alone.verdict
    assert verdict.speech_share == pytest.approx(alone.speech_s / verdict.duration_s, abs=0.01)
