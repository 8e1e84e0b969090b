"""The first blocks of Whisper's encoder, without transformers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import torch
from torch import Tensor, nn
from torch.nn import functional

from veravox.audio.mel import triangular_filters
from veravox.errors import CheckpointError, ConfigurationError, first_few
from veravox.models.ctranslate2 import read_weights
from veravox.models.front_ends import FRONT_ENDS, FrontEnd

FFT, HOP, BANDS = 400, 160, 80
HEAD_SIZE = 64
FRAMES_PER_S = 50

BLOCK_NAMES = {
    "normalise_attention": ("self_attention/layer_norm", "self_attn_layer_norm"),
    "project": ("self_attention/linear_0", None),
    "attended": ("self_attention/linear_1", "self_attn.out_proj"),
    "normalise_feed_forward": ("ffn/layer_norm", "final_layer_norm"),
    "widen": ("ffn/linear_0", "fc1"),
    "narrow": ("ffn/linear_1", "fc2"),
}
"""Parts of a block: as CTranslate2 names them, and as the hub's files do."""


class Block(nn.Module):
    """A pre-norm transformer block: (B, T, D) in and out."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.heads = size // HEAD_SIZE
        self.normalise_attention, self.project = nn.LayerNorm(size), nn.Linear(size, 3 * size)
        self.attended, self.normalise_feed_forward = nn.Linear(size, size), nn.LayerNorm(size)
        self.widen, self.narrow = nn.Linear(size, 4 * size), nn.Linear(4 * size, size)

    def forward(self, hidden: Tensor) -> Tensor:
        batch, frames, size = hidden.shape
        split = self.project(self.normalise_attention(hidden)).view(batch, frames, 3, self.heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # each (B, H, T, D / H)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        hidden = hidden + self.attended(mixed.transpose(1, 2).reshape(batch, frames, size))
        return hidden + self.narrow(functional.gelu(self.widen(self.normalise_feed_forward(hidden))))


def slaney_filters(bands: int = BANDS, bins: int = FFT // 2 + 1, sample_rate_hz: int = 16000) -> Tensor:
    """Triangles of equal area on the Slaney mel scale, shape (bands, bins), as librosa makes them.

    Source:
        Slaney, Auditory Toolbox, Interval Research 1998-010.
    """
    step = np.log(6.4) / 27.0  # over 1 kHz; below it, 200 / 3 Hz are a mel
    top = 15.0 + np.log(sample_rate_hz / 2 / 1000.0) / step
    mels = np.linspace(0.0, top, bands + 2)
    edges = np.where(mels < 15.0, mels * 200.0 / 3.0, 1000.0 * np.exp(step * (mels - 15.0)))
    triangles = triangular_filters(edges, np.linspace(0.0, sample_rate_hz / 2, bins))
    return torch.from_numpy(triangles * 2.0 / (edges[2:] - edges[:-2])[:, None]).float()


@FRONT_ENDS.register("whisper_blocks")
class WhisperBlocks(FrontEnd):
    """Hidden states of a Whisper encoder's stem and first blocks; 50 frames a second.

    The window is encoded as long as it is; it is not filled up with silence to Whisper's 30 s.

    Args:
        weights: where the published weights are: a folder with `model.safetensors` (as on the hub) or `model.bin`
            (CTranslate2; also in parts, `model.bin.part1`, ...), such a file, a veravox checkpoint with these
            blocks inside, or the name of a bundled one. None leaves them to be filled from a checkpoint.
        blocks: how many of the encoder's blocks are kept.
        pooling: `none` gives (B, (blocks + 1) D, T), the stem's and each block's output one below the other;
            `statistics` gives one vector a window, (B, 3 (blocks + 1) D): for each of them its mean over time, its
            standard deviation, and that of its change from frame to frame.
        train: `frozen`, or `fine_tuned`, every weight but the positions.
        size: D: 384 is Whisper's tiny, 512 base, 768 small; needed where no weights are given, or a checkpoint
            holds several encoders.

    Source:
        Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, ICML 2023.
    """

    captures = (
        "fine spectral and temporal detail of speech as a recogniser's first layers keep it, from a log-mel "
        "spectrogram; blind to phase and to what is above 8 kHz"
    )
    filters: Tensor
    window: Tensor
    positions: Tensor

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        return {"size": HEAD_SIZE, "blocks": 1}

    def __init__(
        self,
        weights: str | None = None,
        blocks: int = 2,
        pooling: Literal["none", "statistics"] = "none",
        train: Literal["frozen", "fine_tuned"] = "frozen",
        size: int | None = None,
    ) -> None:
        super().__init__()
        if blocks < 0:
            raise ConfigurationError(f"front end 'whisper_blocks': blocks must not be negative, not {blocks}")
        published = None
        if weights is not None or size is None:
            published = _published(weights, blocks, size)
            size = len(published["stem.0.bias"])
        if size < HEAD_SIZE or size % HEAD_SIZE:
            raise ConfigurationError(
                f"front end 'whisper_blocks': size must be a multiple of {HEAD_SIZE}, not {size}"
            )
        self.portable_options = {"size": size, "weights": None}
        self.pooling, self.frozen = pooling, train == "frozen"
        self.stem = nn.ModuleList(
            [nn.Conv1d(BANDS, size, 3, padding=1), nn.Conv1d(size, size, 3, stride=2, padding=1)]
        )
        self.blocks = nn.ModuleList(Block(size) for _ in range(blocks))
        self.register_buffer("positions", _sinusoids(1500, size), persistent=False)
        self.register_buffer("filters", slaney_filters(), persistent=False)
        self.register_buffer("window", torch.hann_window(FFT), persistent=False)
        if published is not None:
            self.load_state_dict(published, strict=True)
        if self.frozen:
            self.requires_grad_(False)
            self.eval()

    def train(self, mode: bool = True) -> WhisperBlocks:
        """As of any module, but frozen blocks stay in evaluation mode."""
        return super().train(mode and not self.frozen)

    def log_mel(self, windows: Tensor) -> Tensor:
        """Whisper's own features (B, 80, S // 160): 8 decades under the loudest and up, scaled to about 1."""
        spectrum = torch.stft(windows.float(), FFT, HOP, FFT, self.window, center=True, return_complex=True)
        power = spectrum[..., :-1].abs().square()
        bands = torch.log10(torch.matmul(self.filters, power).clamp(min=1e-10))
        floor = bands.amax(dim=(1, 2), keepdim=True) - 8.0
        return (torch.maximum(bands, floor) + 4.0) / 4.0

    def hidden(self, windows: Tensor) -> list[Tensor]:
        """Outputs (B, T, D) of the stem and of each block.

        Raises:
            ConfigurationError: for windows longer than Whisper's 30 s.
        """
        if windows.shape[1] > 2 * HOP * len(self.positions):
            raise ConfigurationError(
                f"front end 'whisper_blocks': windows of {windows.shape[1] / 16000:g} s are longer than the "
                f"{len(self.positions) / FRAMES_PER_S:g} s that the model knows; set a shorter window_s"
            )
        states = self.log_mel(windows)
        for convolution in self.stem:
            states = functional.gelu(convolution(states))
        state = states.transpose(1, 2)
        found = [state + self.positions[: state.shape[1]]]
        for block in self.blocks:
            found.append(block(found[-1]))
        return found

    def forward(self, windows: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.hidden(windows)
            if self.pooling == "none":
                return torch.cat(states, dim=2).transpose(1, 2)
            return torch.cat([pooled for state in states for pooled in statistics_over_time(state)], dim=1)


def statistics_over_time(states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of states (B, T, D): mean, standard deviation, and standard deviation of the change a frame; each (B, D)."""
    variance, mean = torch.var_mean(states, dim=1, correction=0)
    change = torch.var(states[:, 1:] - states[:, :-1], dim=1, correction=0)
    return mean, variance.clamp(min=1e-10).sqrt(), change.clamp(min=1e-10).sqrt()


def _sinusoids(length: int, size: int) -> Tensor:
    """Whisper's positions (length, size): sines, then cosines, of wavelengths from 2 pi to 20000 pi frames."""
    rates = torch.exp(-np.log(10000.0) / (size // 2 - 1) * torch.arange(size // 2, dtype=torch.float64))
    angles = torch.arange(length, dtype=torch.float64)[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()


def _published(weights: str | None, blocks: int, size: int | None) -> dict[str, Tensor]:
    """The published weights of the stem and the first blocks, under this module's names."""
    path = _weights_file(weights)
    if path.suffix == ".safetensors":
        found = _from_safetensors(path, blocks, size)
    else:
        parts = sorted(path.parent.glob("model.bin.part*")) if ".part" in path.name else [path]
        found = _renamed(read_weights(parts), blocks, str(path))
    own = len(found["stem.0.bias"])
    if size is not None and own != size:
        raise ConfigurationError(
            f"front end 'whisper_blocks': {weights!r} holds an encoder of size {own}, not {size}"
        )
    return found


def _weights_file(weights: str | None) -> Path:
    remedy = (
        "'hf download openai/whisper-base --local-dir FOLDER' brings them; a CTranslate2 conversion of Whisper "
        "has them too, and so has the bundled detector veravox-base"
    )
    if weights is None:
        raise ConfigurationError(
            f"front end 'whisper_blocks' needs the option 'weights', a file or folder of Whisper's; {remedy}"
        )
    path = Path(weights)
    bundled = Path(str(resources.files("veravox") / "bundled" / f"{weights}.safetensors"))
    if not path.exists() and bundled.is_file():
        return bundled
    if path.is_dir():
        names = [*sorted(path.glob("*.safetensors")), *sorted(path.glob("model.bin*"))]
        path = names[0] if names else path
    if not path.is_file():
        raise ConfigurationError(
            f"no Whisper weights at {weights!r}: expected a .safetensors file or a model.bin; {remedy}"
        )
    return path


def _renamed(found: Mapping[str, np.ndarray], blocks: int, name: str) -> dict[str, Tensor]:
    """CTranslate2's variables as ours."""
    wanted: dict[str, str] = {}
    for index in (0, 1):
        for kind in ("weight", "bias"):
            wanted[f"stem.{index}.{kind}"] = f"encoder/conv{index + 1}/{kind}"
    for index in range(blocks):
        for part, (theirs, _) in BLOCK_NAMES.items():
            kinds = ("gamma", "beta") if theirs.endswith("layer_norm") else ("weight", "bias")
            for ours, kind in zip(("weight", "bias"), kinds, strict=True):
                wanted[f"blocks.{index}.{part}.{ours}"] = f"encoder/layer_{index}/{theirs}/{kind}"
    return _picked(found, wanted, name)


def _from_safetensors(path: Path, blocks: int, size: int | None) -> dict[str, Tensor]:
    """Tensors of a veravox checkpoint, or the hub's, as ours; there keys have no bias, which is one of zero."""
    try:
        with safetensors.safe_open(path, framework="np") as opened:
            for name in opened.keys():  # noqa: SIM118
                root, stem, rest = name.partition("stem.0.bias")
                if stem and not rest and size in (None, *opened.get_slice(name).get_shape()):
                    own = [key for key in opened.keys() if key.startswith(root)]  # noqa: SIM118
                    return _ours({key[len(root) :]: opened.get_tensor(key) for key in own}, blocks, str(path))
            names = [name for name in opened.keys() if "encoder." in name]  # noqa: SIM118
            found = {name.rpartition("encoder.")[2]: opened.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError, TypeError) as error:
        raise CheckpointError(f"{str(path)!r} cannot be read as safetensors: {error}") from error
    wanted: dict[str, str] = {}
    for index in (0, 1):
        wanted |= {f"stem.{index}.{kind}": f"conv{index + 1}.{kind}" for kind in ("weight", "bias")}
    for index in range(blocks):
        prefix = f"layers.{index}.self_attn."
        if all(f"{prefix}{part}_proj.weight" in found for part in "qkv"):
            found[f"{prefix}k_proj.bias"] = np.zeros_like(found[f"{prefix}q_proj.bias"])
            for kind in ("weight", "bias"):
                parts = [found[f"{prefix}{part}_proj.{kind}"] for part in "qkv"]
                found[f"{prefix}qkv.{kind}"] = np.concatenate(parts)
        for part, (_, theirs) in BLOCK_NAMES.items():
            for kind in ("weight", "bias"):
                wanted[f"blocks.{index}.{part}.{kind}"] = f"layers.{index}.{theirs or 'self_attn.qkv'}.{kind}"
    return _picked(found, wanted, str(path))


def _ours(found: Mapping[str, np.ndarray], blocks: int, name: str) -> dict[str, Tensor]:
    """What a checkpoint's own front end holds, without the blocks that are not asked for."""
    parts = [f"{part}.{kind}" for part in BLOCK_NAMES for kind in ("weight", "bias")]
    wanted = [f"stem.{index}.{kind}" for index in (0, 1) for kind in ("weight", "bias")]
    wanted += [f"blocks.{index}.{part}" for index in range(blocks) for part in parts]
    return _picked(found, {key: key for key in wanted}, name)


def _picked(found: Mapping[str, np.ndarray], wanted: Mapping[str, str], name: str) -> dict[str, Tensor]:
    missing = [theirs for theirs in wanted.values() if theirs not in found]
    if missing:
        raise CheckpointError(
            f"{name!r} holds no Whisper encoder with that many blocks; missing: {first_few(missing)}"
        )
    return {ours: torch.from_numpy(np.array(found[theirs], dtype=np.float32)) for ours, theirs in wanted.items()}
