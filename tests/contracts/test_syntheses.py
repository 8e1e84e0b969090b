"""What every registered synthesis promises: an aligned copy of the same length that is not the original."""

from __future__ import annotations

import inspect
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from veravox.audio.codec_backends import estimate_delay
from veravox.augment import SYNTHESES
from veravox.errors import AugmentationError, MissingDependencyError
from veravox.registry import Spec

RATE_HZ = 16000


def build(name):
    try:
        return SYNTHESES.build(Spec(name, SYNTHESES[name].example_options(Path(tempfile.gettempdir()))))
    except MissingDependencyError as error:
        pytest.skip(str(error))


def rng(*seed):
    return np.random.default_rng(seed or 0)


@pytest.fixture(scope="module")
def speech(samples):
    return soundfile.read(samples / "dev/bonafide/asterisk-core-fr/u687f7975d7.flac", dtype="float32")[0][:16000]


def loudness(waveform):
    smooth = np.convolve(waveform.astype(float) ** 2, np.ones(400) / 400, "same")
    return smooth - smooth.mean()


def spectrogram_db(waveform):
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, 256), 512)[::160]
    return 20 * np.log10(np.abs(np.fft.rfft(framed * np.hanning(512))) + 1e-4)


@pytest.mark.parametrize("name", SYNTHESES.names())
def test_the_copy_is_aligned_as_loud_and_alike_but_another_waveform(name, speech):
    synthesis, before = build(name), speech.copy()
    copy = synthesis(speech, RATE_HZ, rng(1))
    assert np.array_equal(speech, before)
    assert (copy.dtype, copy.shape) == (np.float32, speech.shape)
    assert copy.std() == pytest.approx(speech.std(), rel=0.01)
    assert abs(estimate_delay(loudness(copy), loudness(speech))) <= 80  # 5 ms
    likeness = np.corrcoef(spectrogram_db(copy).ravel(), spectrogram_db(speech).ravel())[0, 1]
    assert likeness > 0.7
    assert np.corrcoef(copy, speech)[0, 1] < 0.99
    assert synthesis.attack_id == name
    assert inspect.getdoc(type(synthesis))


@pytest.mark.parametrize("name", SYNTHESES.names())
def test_the_same_generator_gives_the_same_copy(name, speech):
    first, again = (build(name)(speech[:8000], RATE_HZ, rng(1, 2)) for _ in range(2))
    assert np.array_equal(first, again)


@pytest.mark.parametrize("sample_rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize("name", SYNTHESES.names())
def test_it_works_on_a_tenth_of_a_second_silence_and_usual_rates(name, sample_rate_hz, speech):
    samples = sample_rate_hz // 10
    for source in (speech[:samples], np.zeros(samples, np.float32), np.sign(speech[4000 : 4000 + samples] + 1e-9)):
        copy = build(name)(source, sample_rate_hz, rng(3))
        assert copy.shape == source.shape
        assert np.isfinite(copy).all()


@pytest.mark.parametrize("name", SYNTHESES.names())
def test_a_failure_names_the_synthesis(name, speech):
    with pytest.raises(AugmentationError, match=f"synthesis '{name}'"):
        build(name)(np.full(4000, np.nan, np.float32), RATE_HZ, rng(1))
