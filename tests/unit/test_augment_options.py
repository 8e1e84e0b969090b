"""Whatever a recipe says: a chain that works, or an error that names what is wrong."""

from __future__ import annotations

import inspect
import typing

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from veravox.augment import AUGMENTATIONS, SYNTHESES
from veravox.batches import build_chain
from veravox.errors import AugmentationError, ConfigurationError, MissingDependencyError
from veravox.registry import Spec

WITHOUT_FILES = sorted(set(AUGMENTATIONS.names()) - {"babble", "noise_folder", "impulse_response"})
NUMBERS = {float: st.floats(-20, 200), int: st.integers(-3, 130)}
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(WITHOUT_FILES),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "probability", "min_gain_db", "codecs", "3"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


def waveform(samples=3000):
    return (0.3 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("name", WITHOUT_FILES)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(data=st.data())
def test_numbers_are_refused_when_built_or_give_a_sound_waveform(name, data):
    hints = typing.get_type_hints(AUGMENTATIONS[name].__init__)
    options = {
        option: data.draw(NUMBERS[hints[option]], label=option)
        for option in inspect.signature(AUGMENTATIONS[name]).parameters
        if hints.get(option) in NUMBERS and data.draw(st.booleans())
    }
    refusal = ""
    try:
        augmentation = AUGMENTATIONS.build(Spec(name, options))
    except ConfigurationError as error:
        refusal = str(error)
    if refusal:
        assert name in refusal
        return
    result = augmentation(waveform(), 16000, np.random.default_rng(1))
    assert result.dtype == np.float32
    assert np.isfinite(result).all()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(PLAIN)
def test_any_plain_data_is_a_chain_or_a_configuration_error(plain):
    try:
        chain = build_chain(plain)
    except ConfigurationError:
        return
    assert build_chain(chain.to_list()).to_list() == chain.to_list()


@pytest.mark.parametrize("name", SYNTHESES.names())
def test_a_synthesis_refuses_numbers_beyond_its_limits(name):
    for option, value in (
        ("iterations", 0),
        ("mel_bands", -1),
        ("min_order_per_khz", 0.0),
        ("min_semitones", 99.0),
    ):
        if option in inspect.signature(SYNTHESES[name]).parameters:
            with pytest.raises((ConfigurationError, MissingDependencyError), match=name):
                SYNTHESES.build(Spec(name, {option: value}))


def test_a_step_that_fails_late_still_says_which(monkeypatch):
    chain = build_chain([{"name": "gain"}, {"name": "polarity"}])
    monkeypatch.setattr(type(chain._transforms[1]), "apply", lambda *arguments: np.zeros(3))
    with pytest.raises(AugmentationError, match="augmentation 'polarity' failed: 3000 samples became"):
        chain(waveform(), 16000, np.random.default_rng(0))
