"""An utterance becomes windows by one policy, streamed or whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from veravox.audio import WindowPolicy, tile, window_policy
from veravox.errors import ConfigurationError


@given(
    st.sampled_from(["first", "middle", "sliding"]),
    st.integers(1, 200),
    st.integers(1, 30),
    st.integers(1, 30),
    st.lists(st.integers(1, 40), max_size=12),
)
@settings(deadline=None, max_examples=300)
def test_streaming_gives_the_windows_of_the_whole(name, samples, window, hop, cuts):
    policy = WindowPolicy(name, window, min(hop, window))
    waveform = np.arange(samples, dtype=np.float32)
    streamed = list(policy.stream(np.split(waveform, np.minimum(np.cumsum(cuts), samples))))
    assert [start for start, _ in streamed] == policy.starts(samples)
    assert np.array_equal(np.stack([window for _, window in streamed]), policy.cut(waveform))


@given(st.integers(1, 200), st.integers(1, 30), st.integers(1, 30))
def test_sliding_leaves_no_sample_out_and_pads_none(samples, window, hop):
    policy = WindowPolicy("sliding", window, min(hop, window))
    seen = set(policy.cut(np.arange(samples)).ravel().astype(int))
    assert seen == set(range(samples))


def test_a_short_utterance_is_tiled_from_its_start():
    assert tile(np.array([1, 2, 3]), 8).tolist() == [1, 2, 3, 1, 2, 3, 1, 2]


def test_the_first_window_is_drawn_where_training_asks_for_it():
    rng = np.random.default_rng(0)
    policy = WindowPolicy("first", 4, 4)
    assert policy.draw(np.arange(9), rng).tolist() == [0, 1, 2, 3]
    assert policy.draw(np.arange(3), rng).tolist() == [0, 1, 2, 0]


def test_a_short_utterance_is_drawn_from_its_start_where_training_asks_for_it():
    policy = WindowPolicy("random", 5, 5, tiled_from="start")
    drawn = [policy.draw(np.arange(3), np.random.default_rng(seed)).tolist() for seed in range(5)]
    assert drawn == [[0, 1, 2, 0, 1]] * 5
    assert len({tuple(policy.draw(np.arange(9), np.random.default_rng(seed))) for seed in range(20)}) > 1


def test_a_random_window_is_a_piece_of_the_utterance_and_repeats_with_its_seed():
    policy = WindowPolicy("random", 10, 10)
    waveform = np.arange(100, dtype=np.float32)
    drawn = [policy.draw(waveform, np.random.default_rng(seed)) for seed in range(50)]
    assert all(np.array_equal(np.diff(window), np.ones(9)) for window in drawn)
    assert len({window[0] for window in drawn}) > 20
    assert np.array_equal(drawn[3], policy.draw(waveform, np.random.default_rng(3)))


def test_a_policy_is_named_in_words_and_a_wrong_one_is_refused():
    assert str(window_policy("sliding", 2.0)) == "sliding 2 s every 2 s"
    assert str(window_policy("first", 3.0)) == "first 3 s"
    with pytest.raises(ConfigurationError, match="did you mean 'sliding'"):
        window_policy("slidign", 2.0)
    with pytest.raises(ConfigurationError, match="hop must be"):
        window_policy("sliding", 2.0, hop_s=3.0)
