"""Neural codecs: found in the local cache, run through their packages, or named with what to install."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

from veravox.augment import neural_codecs
from veravox.augment.neural_codecs import NEURAL_CODECS, NeuralCodec, cached_weights, load_snac
from veravox.augment.suites import suite_operations

RATE_HZ = 16000


def halved(folder):
    """A pretended codec at 24 kHz that halves the level."""
    return lambda waveform: waveform * 0.5, 24000, 24000


def test_a_package_that_is_absent_is_named_with_the_command_that_installs_it():
    codec = NeuralCodec("odd", "no_such_package", "pip install odd", "someone/odd", halved)
    assert (
        codec.missing()
        == "needs the package 'no_such_package'; run: pip install odd, then: hf download someone/odd"
    )


def test_weights_that_are_absent_are_named_with_the_command_that_fetches_them():
    codec = NeuralCodec("odd", "json", "pip install odd", "someone/no-such-weights", halved)
    assert codec.missing() == "its weights are not on this machine; run: hf download someone/no-such-weights"


def test_a_codec_is_resampled_for_and_gives_back_the_length_and_place(monkeypatch):
    monkeypatch.setattr(neural_codecs, "cached_weights", lambda repository: "/somewhere")
    codec = NeuralCodec("odd", "json", "", "someone/odd", halved)
    assert codec.missing() is None
    wave = np.sin(np.arange(5000) / 9).astype(np.float32)
    made = codec(wave, RATE_HZ, np.random.default_rng(0))
    assert made.waveform.shape == wave.shape
    assert np.allclose(made.waveform[200:-200], 0.5 * wave[200:-200], atol=2e-3)


def test_every_neural_operation_is_in_the_suite_and_runs_or_says_what_it_needs():
    operations = {operation.name: operation for operation in suite_operations("safe-task2")}
    for codec in NEURAL_CODECS:
        reason = operations[codec.name].missing()
        assert reason is None or "hf download" in reason


def test_nothing_is_fetched_to_find_out(monkeypatch):
    import socket

    def refuse(*arguments, **options):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    cached_weights.cache_clear()
    assert cached_weights("someone/no-such-weights-at-all") is None


@pytest.mark.filterwarnings("ignore")
def test_snac_runs_through_its_own_package(tmp_path):
    if importlib.util.find_spec("snac") is None:
        pytest.skip("the package snac is not installed: pip install 'veravox[snac]'")
    import snac
    import torch

    config = {
        "sampling_rate": 24000,
        "encoder_dim": 4,
        "encoder_rates": [2, 4],
        "decoder_dim": 16,
        "decoder_rates": [4, 2],
        "attn_window_size": None,
        "codebook_size": 16,
        "codebook_dim": 2,
        "vq_strides": [2, 1],
    }
    torch.manual_seed(0)
    (tmp_path / "config.json").write_text(json.dumps(config))
    torch.save(snac.SNAC(**config).state_dict(), tmp_path / "pytorch_model.bin")
    code, input_hz, output_hz = load_snac(str(tmp_path))
    assert (input_hz, output_hz) == (24000, 24000)
    coded = code(np.random.default_rng(0).standard_normal(4801).astype(np.float32))
    assert coded.shape == (4801,)
    assert np.isfinite(coded).all()
