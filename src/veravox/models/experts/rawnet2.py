"""RawNet2: sinc filters, residual blocks along time, a recurrent network that remembers the window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from veravox.errors import ConfigurationError
from veravox.models.experts import EXPERTS, Expert, ExpertOutput, OfficialWeights, two_class_output
from veravox.models.layers.official_names import LINEAR, NORM, RECURRENT, fields
from veravox.models.layers.sinc import filter_by_spectrum, mel_sinc_filters

SINC_FILTERS, SINC_TAPS, POOL, BLOCKS = 20, 1025, 3, 6
SHORTEST_SAMPLES = SINC_TAPS - 1 + POOL ** (BLOCKS + 1)


class ScaledBlock(nn.Module):
    """(B, C_in, T) to (B, C_out, T // 3): two convolutions with a skip, then each channel scaled.

    The scale s is the sigmoid of a linear map of the channels' means, and the output x s + s. In the published
    code, a batch norm and activation of the input are computed and then discarded; their weights are kept, and
    take no part.
    """

    def __init__(self, size_in: int, size_out: int, first: bool, published: bool) -> None:
        super().__init__()
        self.norm1 = None if first else nn.BatchNorm1d(size_in).requires_grad_(not published)
        self.published = published
        self.conv1 = nn.Conv1d(size_in, size_out, 3, padding=1)
        self.norm2 = nn.BatchNorm1d(size_out)
        self.conv2 = nn.Conv1d(size_out, size_out, 3, padding=1)
        self.skip = nn.Conv1d(size_in, size_out, 1) if size_in != size_out else None
        self.scale = nn.Linear(size_out, size_out)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs
        if self.norm1 is not None and not self.published:
            hidden = functional.leaky_relu(self.norm1(inputs), 0.3)
        hidden = functional.leaky_relu(self.norm2(self.conv1(hidden)), 0.3)
        outputs = self.conv2(hidden)
        outputs += inputs if self.skip is None else self.skip(inputs)
        outputs = functional.max_pool1d(outputs, POOL)
        scale = torch.sigmoid(self.scale(outputs.mean(dim=2))).unsqueeze(2)
        return outputs * scale + scale


def rawnet2_names() -> dict[str, str]:
    """Names in the checkpoints of the ASVspoof 2021 baseline RawNet2, to names in our `rawnet2`."""
    names = {**fields("first_bn", "normalise", NORM), **fields("bn_before_gru", "norm_gru", NORM)}
    for index in range(6):
        theirs, ours = f"block{index}.0", f"blocks.{index}"
        if index:
            names |= fields(f"{theirs}.bn1", f"{ours}.norm1", NORM)
        names |= fields(f"{theirs}.conv1", f"{ours}.conv1", LINEAR)
        names |= fields(f"{theirs}.bn2", f"{ours}.norm2", NORM)
        names |= fields(f"{theirs}.conv2", f"{ours}.conv2", LINEAR)
        names |= fields(f"fc_attention{index}.0", f"{ours}.scale", LINEAR)
    names |= fields("block2.0.conv_downsample", "blocks.2.skip", LINEAR)
    for layer in range(3):
        names |= {f"gru.{part}_l{layer}": f"gru.{part}_l{layer}" for part in RECURRENT}
    return names | fields("fc1_gru", "embed", LINEAR) | fields("fc2_gru", "head", LINEAR)


@EXPERTS.register("rawnet2")
class RawNet2(Expert):
    """RawNet2 on the front end `waveform`, windows of at least 0.21 s; 17.6 M parameters.

    Args:
        widths: channels of the first two and of the last four blocks.
        hidden: size of the recurrent layers and of the embedding.
        layers: recurrent layers.
        published: let blocks convolve their input as it is, like the code of the ASVspoof 2021 baseline, whose
            weights want that; else normalised and activated first, as the paper draws it.

    Source:
        The RawNet2 baseline of ASVspoof 2021 (code): 20 fixed filters of 1025 taps, blocks of 20 and 128;
        after Tak et al., End-to-End Anti-Spoofing with RawNet2, ICASSP 2021, whose own code has other sizes.
    """

    inductive_bias = (
        "the waveform through long narrow filters, and how it unfolds over the whole window, so phase and rhythm"
    )

    official = OfficialWeights(rawnet2_names(), {"published": True})
    filters: Tensor

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        return {"widths": (4, 8), "hidden": 8, "layers": 2}

    def __init__(
        self,
        feature_shape: tuple[int, ...],
        widths: tuple[int, int] = (20, 128),
        hidden: int = 1024,
        layers: int = 3,
        published: bool = False,
    ) -> None:
        super().__init__()
        if len(feature_shape) != 1 or feature_shape[0] < SHORTEST_SAMPLES:
            raise ConfigurationError(
                f"expert 'rawnet2' listens to the front end 'waveform', at least {SHORTEST_SAMPLES} samples; "
                f"features here have shape {feature_shape}"
            )
        low, high = widths
        self.register_buffer("filters", mel_sinc_filters(SINC_FILTERS, SINC_TAPS), persistent=False)
        self.normalise = nn.BatchNorm1d(SINC_FILTERS)
        sizes = [(SINC_FILTERS, low), (low, low), (low, high), *[(high, high)] * 3]
        self.blocks = nn.Sequential(
            *(ScaledBlock(*size, index == 0, published) for index, size in enumerate(sizes))
        )
        self.norm_gru = nn.BatchNorm1d(high)
        self.gru = nn.GRU(high, hidden, layers, batch_first=True)
        self.embed = nn.Linear(hidden, hidden)
        self.embedding_size = hidden
        self.head = nn.Linear(hidden, 2)

    def forward(self, features: Tensor) -> ExpertOutput:
        filtered = functional.max_pool1d(filter_by_spectrum(features, self.filters).abs(), POOL)
        hidden = self.blocks(functional.selu(self.normalise(filtered)))
        hidden = functional.selu(self.norm_gru(hidden)).transpose(1, 2)  # (B, T, C)
        embeddings = self.embed(self.gru(hidden)[0][:, -1])
        return two_class_output(self.head(embeddings), embeddings)
