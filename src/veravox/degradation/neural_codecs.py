"""Neural codecs through their own packages. What is not installed is named with how to get it, never dropped.

Nothing is downloaded: weights are taken from the model hub's local cache, or the codec is reported as missing.
The deep learning library is loaded only when a codec runs.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from veravox.degradation.operations import Degraded, Operation
from veravox.errors import AugmentationError

Coder = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class NeuralCodec:
    """How one neural codec is reached.

    Attributes:
        name: as the challenge's table has it.
        package: the module it needs.
        install: the command that installs it.
        weights: where its weights lie on the model hub.
        load: from a folder of weights to a function from waveform to waveform, and its two sampling rates.
    """

    name: str
    package: str
    install: str
    weights: str
    load: Callable[[str], tuple[Coder, int, int]]

    def missing(self) -> str | None:
        """What to install before it can run; None if nothing."""
        if importlib.util.find_spec(self.package) is None:
            return f"needs the package {self.package!r}; run: {self.install}, then: hf download {self.weights}"
        if cached_weights(self.weights) is None:
            return f"its weights are not on this machine; run: hf download {self.weights}"
        return None

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
        """The waveform after the codec, aligned and as long as it was."""
        folder = cached_weights(self.weights)
        assert folder is not None, "missing() is asked first"
        import torch

        code, input_hz, output_hz = _loaded(self.load, folder)
        with torch.random.fork_rng():  # a decoder that samples, as a diffusion does, samples by the file's seed
            torch.manual_seed(int(rng.integers(2**31)))
            coded = code(soxr.resample(waveform, sample_rate_hz, input_hz))
        back = soxr.resample(np.asarray(coded, np.float32).reshape(-1), output_hz, sample_rate_hz)
        back = np.pad(back[: len(waveform)], (0, max(0, len(waveform) - len(back))))
        return Degraded(back, sample_rate_hz, {"codec": self.weights, "codec_rate_hz": input_hz})


@functools.cache
def cached_weights(repository: str) -> str | None:
    """The folder of a model repository in the hub's local cache, or None; never asks the network."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return str(snapshot_download(repository, local_files_only=True))
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError):
        return None


@functools.cache
def _loaded(load: Callable[[str], tuple[Coder, int, int]], folder: str) -> tuple[Coder, int, int]:
    return load(folder)


def load_encodec(folder: str) -> tuple[Coder, int, int]:
    """EnCodec at 6 kbit/s."""
    import torch

    transformers = importlib.import_module("transformers")
    model = transformers.EncodecModel.from_pretrained(folder).eval()
    rate_hz = int(model.config.sampling_rate)
    bandwidth = min(model.config.target_bandwidths, key=lambda kilobits: abs(kilobits - 6.0))

    def code(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(waveform))[None, None]
            mask = torch.ones(1, values.shape[-1], dtype=torch.bool)
            encoded = model.encode(values, mask, bandwidth=bandwidth)
            return model.decode(encoded.audio_codes, encoded.audio_scales, mask)[0].reshape(-1).numpy()

    return code, rate_hz, rate_hz


def load_snac(folder: str) -> tuple[Coder, int, int]:
    """SNAC."""
    import torch

    snac = importlib.import_module("snac")
    model = snac.SNAC.from_pretrained(folder).eval()

    def code(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(waveform))[None, None]
            return model.decode(model.encode(values)).reshape(-1)[: len(waveform)].numpy()

    return code, int(model.sampling_rate), int(model.sampling_rate)


def load_focalcodec(folder: str) -> tuple[Coder, int, int]:
    """FocalCodec. From a folder its package reads one name with two endings, which the hub's files do not have."""
    import torch

    package = importlib.import_module("focalcodec")
    with tempfile.TemporaryDirectory() as scratch:
        for source, name in (("config.json", "model.json"), ("model.safetensors", "model.safetensors")):
            if not Path(folder, source).is_file():
                raise AugmentationError(f"the weights in {folder!r} lack {source}; fetch them again")
            Path(scratch, name).symlink_to(Path(folder, source).resolve())
        model = package.FocalCodec.from_pretrained(str(Path(scratch, "model.json"))).eval()
    # One rate until version 0.0.1, two since.
    input_hz = int(model.sample_rate_input if hasattr(model, "sample_rate_input") else model.sample_rate)
    output_hz = int(getattr(model, "sample_rate_output", input_hz))

    def code(waveform: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(waveform))[None]  # (1, samples)
            return model.toks_to_sig(model.sig_to_toks(values)).reshape(-1).numpy()

    return code, input_hz, output_hz


def load_semanticodec(folder: str) -> tuple[Coder, int, int]:
    """SemantiCodec at 100 tokens per second; its package reads files only, and reports on stdout."""
    import torch

    cache = Path(folder).parents[2]  # snapshots/HASH inside the repository's folder inside the cache
    with contextlib.redirect_stdout(sys.stderr), _offline():
        package = importlib.import_module("semanticodec")
        model = package.SemantiCodec(token_rate=100, semantic_vocab_size=16384, cache_path=str(cache)).eval()

    def code(waveform: np.ndarray) -> np.ndarray:
        import soundfile

        with (
            tempfile.TemporaryDirectory() as scratch,
            torch.inference_mode(),
            contextlib.redirect_stdout(sys.stderr),
        ):
            path = Path(scratch) / "input.wav"
            soundfile.write(path, waveform, 16000, subtype="FLOAT")
            decoded = model.decode(model.encode(str(path)))  # (1, 1, samples)
        return np.asarray(decoded.cpu() if hasattr(decoded, "cpu") else decoded).reshape(-1)

    return code, 16000, 16000


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """The hub's client uses its cache alone."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


NEURAL_CODECS = (
    NeuralCodec(
        "encodec", "transformers", "pip install 'veravox[encodec]'", "facebook/encodec_24khz", load_encodec
    ),
    NeuralCodec(
        "focalcodec",
        "focalcodec",
        "pip install 'focalcodec @ git+https://github.com/lucadellalib/focalcodec.git'",
        "lucadellalib/focalcodec_50hz",
        load_focalcodec,
    ),
    NeuralCodec(
        "semanticodec",
        "semanticodec",
        "pip install git+https://github.com/haoheliu/SemantiCodec-inference.git",
        "haoheliu/SemantiCodec",
        load_semanticodec,
    ),
    NeuralCodec("snac", "snac", "pip install 'veravox[snac]'", "hubertsiuzdak/snac_24khz", load_snac),
)


def neural_codings() -> list[Operation]:
    """The operations of task 2 that need a neural codec."""
    return [Operation(codec.name, codec, missing=codec.missing) for codec in NEURAL_CODECS]
