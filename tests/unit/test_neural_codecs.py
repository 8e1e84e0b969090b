"""Neural codecs: found in the local cache, run through their packages, or named with what to install."""

from __future__ import annotations

import importlib.util
import json
import sys

import numpy as np
import pytest

from veravox.degradation import neural_codecs
from veravox.degradation.neural_codecs import (
    NEURAL_CODECS,
    NeuralCodec,
    cached_weights,
    load_focalcodec,
    load_snac,
)
from veravox.degradation.suites import suite_operations
from veravox.errors import AugmentationError

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


FOCALCODEC = """
import os, torch
from safetensors.torch import load_file

class FocalCodec(torch.nn.Module):
    sample_rate_input, sample_rate_output = 16000, 24000

    def __init__(self, scale):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(0.0))

    @classmethod
    def from_pretrained(cls, config):
        # As the package does: NAME.json, and NAME.safetensors beside it; anything else is asked of the hub.
        assert config.endswith(".json") and os.path.exists(config), "asked the network"
        model = cls(0.0)
        model.load_state_dict(load_file(os.path.splitext(config)[0] + ".safetensors"))
        return model

    def sig_to_toks(self, sig):
        assert sig.ndim == 2
        return sig[:, :: 16000 // 50]

    def toks_to_sig(self, toks):
        return self.scale * toks.repeat_interleave(24000 // 50, dim=1)
"""

SEMANTICODEC = """
import soundfile, torch
from huggingface_hub import constants, hf_hub_download

class SemantiCodec(torch.nn.Module):
    def __init__(self, token_rate, semantic_vocab_size, ddim_sample_step=50, cfg_scale=2.0, checkpoint_path=None,
                 cache_path="pretrained"):
        super().__init__()
        name = f"semanticodec_tokenrate_{token_rate}/encoder.ckpt"
        self.found = hf_hub_download(repo_id="haoheliu/SemantiCodec", filename=name, cache_dir=cache_path)
        print("Loading SemantiCodec encoder")

    def encode(self, path):
        return torch.from_numpy(soundfile.read(path, dtype="float32")[0])

    def decode(self, tokens):
        return (tokens + torch.randn(len(tokens)))[None, None].numpy()
"""


def pretended(monkeypatch, tmp_path, name, source):
    """A module that keeps to the public interface of a package that is not installed here."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.delitem(sys.modules, name, raising=False)


def in_the_cache(tmp_path, repository, files):
    """A folder of the hub's cache that holds a repository's files."""
    home = tmp_path / "cache" / f"models--{repository.replace('/', '--')}"
    folder = home / "snapshots" / "0123456789abcdef0123456789abcdef01234567"
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(folder.name)
    return folder


def test_focalcodec_gets_its_files_under_the_names_its_package_reads(monkeypatch, tmp_path):
    import torch
    from safetensors.torch import save

    pretended(monkeypatch, tmp_path, "focalcodec", FOCALCODEC)
    files = {"config.json": b"{}", "model.safetensors": save({"scale": torch.tensor(0.5)})}
    folder = in_the_cache(tmp_path, "lucadellalib/focalcodec_50hz", files)
    code, input_hz, output_hz = load_focalcodec(str(folder))
    assert (input_hz, output_hz) == (16000, 24000)
    assert np.allclose(code(np.ones(3200, np.float32)), np.full(4800, 0.5))
    (folder / "model.safetensors").unlink()
    with pytest.raises(AugmentationError, match="lack model"):
        load_focalcodec(str(folder))


def test_semanticodec_stays_off_the_network_and_off_stdout_and_samples_by_the_seed(monkeypatch, tmp_path, capsys):
    import socket

    def refuse(*arguments, **options):
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    pretended(monkeypatch, tmp_path, "semanticodec", SEMANTICODEC)
    folder = in_the_cache(
        tmp_path, "haoheliu/SemantiCodec", {"semanticodec_tokenrate_100/encoder.ckpt": b"weights"}
    )
    monkeypatch.setattr(neural_codecs, "cached_weights", lambda repository: str(folder))
    [codec] = [one for one in NEURAL_CODECS if one.name == "semanticodec"]
    assert codec.missing() is None
    wave = np.zeros(1600, np.float32)
    first, same, other = (codec(wave, RATE_HZ, np.random.default_rng(seed)).waveform for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert capsys.readouterr().out == ""
