"""What every registered augmentation promises: a new file is tested by being there."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.errors import AugmentationError
from veravox.registry import Spec

NAMES = AUGMENTATIONS.names()


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Makes a registered augmentation with the options that its class states."""
    folder = tmp_path_factory.mktemp("examples")
    return lambda name: AUGMENTATIONS.build(Spec(name, AUGMENTATIONS[name].example_options(folder)))


def voice(seconds=1.0, sample_rate_hz=16000, peak=0.5):
    """Pulses of a voice-like pitch under a slow swell, with a little noise."""
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    tones = sum(np.cos(2 * np.pi * 130 * k * time_s + k * k) / k for k in range(1, 25))
    swell = 0.6 - 0.4 * np.cos(2 * np.pi * 4 * time_s)
    noise = 0.02 * np.random.default_rng(3).standard_normal(len(time_s))
    mixed = tones * swell + noise
    return (peak * mixed / np.abs(mixed).max()).astype(np.float32)


def assert_sound(result, source, augmentation):
    assert result.dtype == np.float32
    assert result.ndim == 1
    assert np.isfinite(result).all()
    if augmentation.keeps_length:
        assert len(result) == len(source)
    assert len(result) > 0


@pytest.mark.parametrize("name", NAMES)
def test_it_builds_from_its_needed_options_and_says_what_it_does(build, name):
    assert isinstance(build(name), Augmentation)
    assert inspect.getdoc(AUGMENTATIONS[name])


@pytest.mark.parametrize("name", NAMES)
def test_whole_numbers_are_refused_since_nobody_told_their_full_scale(build, name):
    whole = (32767 * voice(0.1)).astype(np.int16)
    with pytest.raises(AugmentationError, match=r"floating-point numbers in \[-1, 1\], not int16"):
        build(name)(whole, 16000, np.random.default_rng(0))


@pytest.mark.parametrize("name", NAMES)
def test_the_input_is_untouched_and_shares_no_memory_with_the_output(build, name):
    source = voice()
    before = source.copy()
    result = build(name)(source, 16000, np.random.default_rng(1))
    assert np.array_equal(source, before)
    assert not np.shares_memory(result, source)
    assert_sound(result, source, build(name))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generator_gives_the_same_waveform_and_others_give_others(build, name):
    source = voice()
    first = build(name)(source, 16000, np.random.default_rng((1, 2, 3)))
    again = build(name)(source, 16000, np.random.default_rng((1, 2, 3)))
    assert np.array_equal(first, again)
    if AUGMENTATIONS[name].is_random:
        results = [build(name)(source, 16000, np.random.default_rng((1, 2, k))).tobytes() for k in range(4, 10)]
        assert len(set(results)) > 1


@pytest.mark.parametrize("name", NAMES)
def test_it_works_on_a_tenth_of_a_second_silence_and_full_scale(build, name):
    augmentation = build(name)
    sign = np.where(voice() >= 0, 1.0, -1.0).astype(np.float32)
    for source in (voice(0.1), np.zeros(8000, np.float32), sign):
        assert_sound(augmentation(source, 16000, np.random.default_rng(5)), source, augmentation)


@pytest.mark.parametrize("sample_rate_hz", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("name", NAMES)
def test_it_works_at_usual_sampling_rates(build, name, sample_rate_hz):
    augmentation = build(name)
    source = voice(0.3, sample_rate_hz)
    assert_sound(augmentation(source, sample_rate_hz, np.random.default_rng(8)), source, augmentation)


@pytest.mark.parametrize("name", NAMES)
def test_it_survives_the_way_to_a_worker(build, name):
    augmentation = pickle.loads(pickle.dumps(build(name)))
    source = voice(0.2)
    expected = build(name)(source, 16000, np.random.default_rng(2))
    assert np.array_equal(augmentation(source, 16000, np.random.default_rng(2)), expected)


@pytest.mark.parametrize("name", NAMES)
def test_a_failure_is_an_error_that_names_the_augmentation(build, name):
    broken = voice(0.2)
    broken[100] = np.nan
    for source in (broken, np.zeros(0, np.float32), np.zeros((2, 100), np.float32)):
        with pytest.raises(AugmentationError, match=f"augmentation '{name}'"):
            build(name)(source, 16000, np.random.default_rng(2))
