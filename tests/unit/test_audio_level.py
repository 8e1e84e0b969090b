"""Active level: pauses do not count, gain moves it by itself, silence stays silent."""

from __future__ import annotations

import numpy as np
import pytest

from recordings import speech_like
from veravox.audio import active_level, dbfs, to_active_level


def test_full_scale_references():
    assert dbfs(1.0) == 0.0
    assert dbfs(0.5) == pytest.approx(-6.0206, abs=1e-4)
    assert dbfs(0.0) == float("-inf")
    sine = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert active_level(sine) == pytest.approx(-3.0103, abs=0.01)


def test_pauses_do_not_lower_the_active_level():
    voice = 0.1 * np.random.default_rng(0).standard_normal(16384).astype(np.float32)
    pause = 1e-4 * np.random.default_rng(1).standard_normal(65536).astype(np.float32)
    assert active_level(np.concatenate([pause, voice, pause])) == pytest.approx(-20.0, abs=0.2)


@pytest.mark.parametrize("gain_db", [-40.0, -12.0, 6.0])
def test_a_gain_moves_the_active_level_by_itself(gain_db):
    voice = speech_like(3.0, 16000)[:, 0]
    moved = voice * 10 ** (gain_db / 20)
    assert active_level(moved) == pytest.approx(active_level(voice) + gain_db, abs=0.01)


def test_normalised_speech_has_the_level_asked_for():
    voice = 0.01 * speech_like(3.0, 16000)[:, 0]
    loud = to_active_level(voice, -26.0, max_gain_db=60.0)
    assert loud.dtype == np.float32
    assert active_level(loud) == pytest.approx(-26.0, abs=0.01)
    np.testing.assert_allclose(to_active_level(loud, -26.0), loud, rtol=1e-4)


def test_the_gain_is_limited_both_ways():
    voice = speech_like(2.0, 16000)[:, 0]
    np.testing.assert_allclose(to_active_level(voice * 1e-3, max_gain_db=20.0), voice * 1e-2, rtol=1e-5)
    np.testing.assert_allclose(to_active_level(voice, -90.0, max_gain_db=20.0), voice * 0.1, rtol=1e-5)


@pytest.mark.parametrize("samples", [0, 1, 100, 16000])
def test_silence_stays_as_it_is(samples):
    silence = np.zeros(samples, np.float32)
    assert active_level(silence) == float("-inf")
    np.testing.assert_array_equal(to_active_level(silence), silence)
