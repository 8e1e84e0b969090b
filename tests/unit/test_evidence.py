"""Evidence grows with speech, and windows weigh as much as there is speech in them."""

from __future__ import annotations

import numpy as np
import pytest

import veravox
from veravox.audio import window_policy
from veravox.errors import ScoringError
from veravox.evaluation.calibration import fit_grown_calibration, joined
from veravox.scoring import score_waveform
from veravox.scoring.prediction import speech_shares
from veravox.scoring.verdict import most_spoof_like_span
from veravox.tables import Calibration


def test_a_score_grows_with_speech_between_the_limits_and_without_growth_does_not():
    plain, grown = Calibration(2.0, 0.5), Calibration(2.0, 0.5, growth=0.5, reference_s=4.0)
    assert plain.apply(1.5, 100.0) == plain.apply(1.5) == 3.5
    assert grown.apply(1.5, 4.0) == grown.apply(1.5) == 3.5
    assert grown.apply(1.5, 16.0) == pytest.approx(2.0 * 1.5 * 2.0 + 0.5)
    assert grown.apply(1.5, 3600.0) == grown.apply(1.5, 32.0)
    assert grown.apply(1.5, 0.0) == grown.apply(1.5, 1.0) == pytest.approx(2.0 * 1.5 * 0.5 + 0.5)
    assert Calibration.from_dict(grown.to_dict()) == grown


@pytest.mark.parametrize("fields", [{"growth": -0.1}, {"growth": 1.0}, {"reference_s": 0.5}, {"longest_s": 2.0}])
def test_an_impossible_growth_is_refused(fields):
    with pytest.raises(ScoringError, match="growth"):
        Calibration(1.0, 0.0, **fields)


def trials(seed: int, voices: int, own: float, shared: float) -> tuple[np.ndarray, ...]:
    """Logits of 8 trials a voice: a shift that the voice's trials share, and noise of their own."""
    rng = np.random.default_rng(seed)
    real = np.repeat(np.arange(voices) % 2 == 0, 8)
    shifts = np.repeat(rng.normal(0, shared, voices), 8)
    logits = np.where(real, 1.0, -1.0) + shifts + rng.normal(0, own, len(real))
    return logits, real, np.full(len(real), 3.0), np.repeat(np.arange(voices), 8)


def test_growth_is_large_where_errors_are_independent_and_none_where_a_voice_shares_them():
    independent = fit_grown_calibration(*trials(0, 400, own=2.0, shared=0.0))
    alike = fit_grown_calibration(*trials(0, 400, own=0.02, shared=2.0))
    assert independent.growth >= 0.75
    assert alike.growth <= 0.1
    assert independent.reference_s == 3.0


def test_thresholds_keep_their_promise_at_every_length_on_voices_of_their_own():
    fitted = fit_grown_calibration(*trials(1, 1000, 1.5, 0.7), max_bona_fide_below=0.03, max_spoof_above=0.05)
    logits, real, seconds, voices = trials(2, 1000, 1.5, 0.7)
    for count in (1, 2, 4, 8):
        together, is_real, heard = joined(logits, real, seconds, voices, count)
        said = [fitted.verdict(fitted.apply(x, t)) for x, t in zip(together, heard, strict=True)]
        called = np.array(said)
        assert (called[is_real] == "spoof").mean() <= 0.04
        assert (called[~is_real] == "bonafide").mean() <= 0.065


def test_joined_trials_are_of_one_voice_and_weighed_by_speech():
    logits, seconds = np.array([1.0, 3.0, -5.0, 9.0]), np.array([1.0, 3.0, 2.0, 2.0])
    found = joined(logits, np.array([True, True, False, False]), seconds, ["a", "a", "b", "c"], 2)
    assert [list(column) for column in found] == [[2.5], [True], [4.0]]


def test_shares_follow_the_recordings_own_level():
    loud, quiet = np.full(10, 1.0), np.full(10, 1e-6)
    assert speech_shares([loud, quiet, np.r_[loud[:5], quiet[:5]]]).tolist() == [1.0, 0.0, 0.5]
    assert speech_shares([1e-4 * loud, 1e-4 * quiet]).tolist() == [1.0, 0.0]
    assert speech_shares([np.zeros(10)]).tolist() == [0.0]


def test_whole_windows_of_silence_change_no_score():
    detector = veravox.load_detector("mile-slim")
    rng = np.random.default_rng(0)
    window = detector.model.spec.window_samples
    voice = rng.normal(0, 0.1, 2 * window) * (1 + np.sin(np.arange(2 * window) / 800))
    hush = rng.normal(0, 1e-5, 2 * window)
    alone = score_waveform(detector, voice.astype(np.float32), 16000)
    longer = score_waveform(detector, np.r_[voice, hush].astype(np.float32), 16000)
    assert len(longer.windows) == len(alone.windows) == 2
    assert longer.score == pytest.approx(alone.score, abs=1e-6)


def test_the_worst_stretch_is_one_that_holds_speech():
    policy = window_policy("sliding", 4.0)
    logits, starts = np.array([3.0, 0.0, 2.0, -9.0, -9.0, -9.0, 3.0]), [4 * 16000 * index for index in range(7)]
    speech = np.array([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0])
    assert most_spoof_like_span(logits, starts, policy) == (3, 5)
    assert most_spoof_like_span(logits, starts, policy, speech / speech.sum()) == (1, 3)
