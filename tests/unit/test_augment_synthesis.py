"""Copies in training and partial spoofs: shares, labels and places."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from veravox.audio.mel import mel_filters
from veravox.augment.synthesis.griffin_lim import GriffinLim
from veravox.augment.synthesis.lpc import linear_prediction
from veravox.batches import build_synthesis, splice
from veravox.errors import AugmentationError, ConfigurationError

RATE_HZ = 16000


def rng(seed=0):
    return np.random.default_rng(seed)


def hiss(samples=RATE_HZ, seed=1):
    return (0.1 * rng(seed).standard_normal(samples)).astype(np.float32)


def test_more_iterations_come_nearer_to_the_magnitudes():
    source = (0.3 * np.sin(np.arange(8000) ** 1.2 / 40)).astype(np.float32)

    def distance(iterations):
        copy = GriffinLim(iterations, mel_bands=0)(source, RATE_HZ, rng(2))
        spectra = [
            np.abs(np.fft.rfft(np.lib.stride_tricks.sliding_window_view(wave, 800)[::200] * np.hanning(800)))
            for wave in (copy, source)
        ]
        return np.linalg.norm(spectra[0] - spectra[1]) / np.linalg.norm(spectra[1])

    assert distance(40) < 0.6 * distance(1)


def test_mel_bands_cover_every_frequency_between_their_ends():
    bank = mel_filters(40, 401, RATE_HZ, 0, RATE_HZ / 2)
    inside = slice(int(np.argmax(bank[0])) + 1, int(np.argmax(bank[-1])))
    assert np.allclose(bank.sum(axis=0)[inside], 1, atol=1e-5)


def test_linear_prediction_finds_a_known_resonator():
    pole = 0.9 * np.exp(1j * 0.6)
    polynomial = np.array([1, -2 * pole.real, abs(pole) ** 2])
    from scipy.signal import lfilter

    wave = lfilter([1], polynomial, rng(3).standard_normal(200_000))
    correlation = np.array([[np.dot(wave[: len(wave) - lag], wave[lag:]) for lag in range(3)]]) / len(wave)
    predictor, gain = linear_prediction(correlation, 2)
    assert np.allclose(predictor[0], polynomial, atol=0.02)
    assert gain[0] == pytest.approx(1, abs=0.02)


def test_a_splice_is_spoofed_where_it_says_and_nowhere_else():
    original, copy = hiss(), hiss(seed=2)
    result = splice(original, copy, RATE_HZ, rng(4))
    for start_s, end_s, label in result.pieces:
        inside = slice(round(start_s * RATE_HZ) + 50, round(end_s * RATE_HZ) - 50)
        assert np.allclose(result.waveform[inside], (copy if label == "spoof" else original)[inside], atol=1e-6)


def test_the_pieces_of_a_splice_cover_the_whole_and_alternate():
    for seed in range(50):
        pieces = splice(hiss(), hiss(seed=2), RATE_HZ, rng(seed)).pieces
        assert pieces[0][0] == 0
        assert pieces[-1][1] == pytest.approx(1.0)
        assert all(before[1] == after[0] and before[2] != after[2] for before, after in itertools.pairwise(pieces))
        assert any(label == "spoof" for *_, label in pieces)


def test_a_splice_becomes_segments_of_its_utterance():
    result = splice(hiss(), hiss(seed=2), RATE_HZ, rng(4))
    segments = result.segments("007")
    assert segments.frame["utterance_id"].unique().to_list() == ["007"]
    assert segments.frame["end_s"].max() == 1.0
    assert segments.frame.select("start_s", "end_s", "label").rows() == list(result.pieces)


def test_a_splice_of_unequal_or_too_short_waveforms_is_refused():
    with pytest.raises(AugmentationError, match="aligned"):
        splice(hiss(100), hiss(101), RATE_HZ, rng())
    with pytest.raises(AugmentationError, match="does not fit"):
        splice(hiss(100), hiss(100), RATE_HZ, rng())


def test_copies_are_drawn_as_often_as_asked_wholly_or_in_parts():
    copies = build_synthesis(
        [
            {"name": "griffin_lim", "probability": 0.3, "iterations": 1, "mel_bands": 0},
            {"name": "lpc", "probability": 0.2},
        ],
        splice_probability=0.5,
    )
    drawn = [copies(hiss(8000), RATE_HZ, rng(seed)) for seed in range(400)]
    names = [copy.attack_id if copy else None for copy in drawn]
    assert names.count("griffin_lim") == pytest.approx(120, abs=36)  # 4 standard deviations
    assert names.count("lpc") == pytest.approx(80, abs=32)
    parts = [len(copy.pieces) > 1 for copy in drawn if copy]
    assert np.mean(parts) == pytest.approx(0.5, abs=0.15)
    assert {copy.label for copy in drawn if copy} == {"spoof"}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "grifin_lim", "probability": 0.1}], "did you mean 'griffin_lim'"),
        ([{"name": "lpc"}], "needs a probability"),
        ([{"name": "lpc", "probability": 0.7}, {"name": "lpc", "probability": 0.7}], "sum to at most 1"),
    ],
)
def test_a_wrong_synthesis_is_refused(entries, message):
    with pytest.raises(ConfigurationError, match=message):
        build_synthesis(entries)
