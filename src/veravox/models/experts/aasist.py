"""AASIST: sinc filters, a residual encoder, and graphs of spectral and temporal nodes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from veravox.errors import ConfigurationError
from veravox.models.experts import EXPERTS, Expert, ExpertOutput, OfficialWeights, two_class_output
from veravox.models.layers.batch_norm import BatchNorm
from veravox.models.layers.graphs import SpectroTemporalGraph
from veravox.models.layers.official_names import LINEAR, NORM, fields
from veravox.models.layers.residual_encoder import POOL, residual_encoder
from veravox.models.layers.sinc import mel_sinc_filters

SINC_FILTERS, SINC_TAPS = 70, 129
WINDOW_SAMPLES = 64600
SHORTEST_SAMPLES = SINC_TAPS - 1 + POOL**7


class SincMagnitude(nn.Module):
    """|sinc filters|, largest of each 3 filters x 3 samples: (B, S) to (B, 1, 23, (S - 128) // 3).

    The nine outputs that one maximum is taken over are rows of one matrix product, so the full-rate
    filter outputs, nine times as large, are never laid out as an image of their own.
    """

    filters: Tensor

    def __init__(self, sample_rate_hz: int = 16000) -> None:
        super().__init__()
        bands = SINC_FILTERS // POOL
        taps = mel_sinc_filters(SINC_FILTERS, SINC_TAPS, sample_rate_hz)[: bands * POOL]
        shifted = torch.stack([functional.pad(taps, (shift, POOL - 1 - shift)) for shift in range(POOL)], dim=1)
        # (bands, 9, taps + 2), laid out as (9, bands, taps + 2)
        self.register_buffer(
            "filters",
            shifted.reshape(bands, POOL * POOL, -1).transpose(0, 1).reshape(POOL * POOL * bands, -1).contiguous(),
            persistent=False,
        )

    def forward(self, windows: Tensor) -> Tensor:
        length = self.filters.shape[1]
        frames = windows.unfold(1, length, POOL).transpose(1, 2)  # (B, taps + 2, T)
        outputs = torch.matmul(self.filters, frames)
        return outputs.view(len(windows), POOL * POOL, -1, outputs.shape[-1]).abs().amax(dim=1).unsqueeze(1)


def _graph_attention(theirs: str, ours: str) -> dict[str, str]:
    return {
        f"{theirs}.att_weight": f"{ours}.weight",
        **fields(f"{theirs}.att_proj", f"{ours}.pair", LINEAR),
        **_node_projection(theirs, ours),
    }


def _node_projection(theirs: str, ours: str) -> dict[str, str]:
    return {
        **fields(f"{theirs}.proj_with_att", f"{ours}.project.proj_attended", LINEAR),
        **fields(f"{theirs}.proj_without_att", f"{ours}.project.proj_self", LINEAR),
        **fields(f"{theirs}.bn", f"{ours}.project.normalise", NORM),
    }


def _mixed_attention(theirs: str, ours: str) -> dict[str, str]:
    return {
        f"{theirs}.att_weight11": f"{ours}.weight_temporal",
        f"{theirs}.att_weight22": f"{ours}.weight_spectral",
        f"{theirs}.att_weight12": f"{ours}.weight_across",
        f"{theirs}.att_weightM": f"{ours}.weight_master",
        **fields(f"{theirs}.proj_type1", f"{ours}.proj_temporal", LINEAR),
        **fields(f"{theirs}.proj_type2", f"{ours}.proj_spectral", LINEAR),
        **fields(f"{theirs}.att_proj", f"{ours}.pair", LINEAR),
        **fields(f"{theirs}.att_projM", f"{ours}.pair_master", LINEAR),
        **fields(f"{theirs}.proj_with_attM", f"{ours}.proj_attended_master", LINEAR),
        **fields(f"{theirs}.proj_without_attM", f"{ours}.proj_self_master", LINEAR),
        **_node_projection(theirs, ours),
    }


def _encoder_block(index: int) -> dict[str, str]:
    theirs, ours = f"encoder.{index}.0", f"encoder.{index}"
    return {
        **(fields(f"{theirs}.bn1", f"{ours}.discarded", NORM) if index else {}),
        **fields(f"{theirs}.conv1", f"{ours}.conv1", LINEAR),
        **fields(f"{theirs}.bn2", f"{ours}.normalise", NORM),
        **fields(f"{theirs}.conv2", f"{ours}.conv2", LINEAR),
        **(fields(f"{theirs}.conv_downsample", f"{ours}.skip", LINEAR) if index in (0, 2) else {}),
    }


def aasist_names() -> dict[str, str]:
    """Names in the official AASIST checkpoints, to names in our `aasist` and `aasist_l`."""
    names = {"pos_S": "graph.positions", **fields("first_bn", "normalise", NORM)}
    for index in range(6):
        names |= _encoder_block(index)
    names |= _graph_attention("GAT_layer_S", "graph.attend_spectral")
    names |= _graph_attention("GAT_layer_T", "graph.attend_temporal")
    names |= fields("pool_S.proj", "graph.pool_spectral.score", LINEAR)
    names |= fields("pool_T.proj", "graph.pool_temporal.score", LINEAR)
    for branch in (1, 2):
        ours = f"graph.branches.{branch - 1}"
        names[f"master{branch}"] = f"{ours}.master"
        names |= _mixed_attention(f"HtrgGAT_layer_ST{branch}1", f"{ours}.first")
        names |= _mixed_attention(f"HtrgGAT_layer_ST{branch}2", f"{ours}.second")
        names |= fields(f"pool_hS{branch}.proj", f"{ours}.pool_spectral.score", LINEAR)
        names |= fields(f"pool_hT{branch}.proj", f"{ours}.pool_temporal.score", LINEAR)
    return names | fields("out_layer", "head", LINEAR)


class _AASIST(Expert):
    official = OfficialWeights(aasist_names(), window_samples=WINDOW_SAMPLES)
    renamed_options: ClassVar[Mapping[str, str]] = {"shares": "pool_ratios"}
    inductive_bias = (
        "artefacts of the waveform in any band and at any instant, and which bands and instants go together"
    )

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        return {"any_length": True, "widths": (4, 4), "hidden": 4}

    def __init__(
        self,
        widths: tuple[int, int],
        hidden: int,
        pool_ratios: tuple[float, float, float],
        dropout: float,
        any_length: bool,
        feature_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        if len(feature_shape) != 1 or feature_shape[0] < SHORTEST_SAMPLES:
            raise ConfigurationError(
                f"expert 'aasist' listens to the front end 'waveform', at least {SHORTEST_SAMPLES} samples; "
                f"features here have shape {feature_shape}"
            )
        self.window_samples = None if any_length else WINDOW_SAMPLES
        self.sinc = SincMagnitude()
        self.normalise = BatchNorm(1)
        self.encoder = residual_encoder(widths)
        self.graph = SpectroTemporalGraph(widths[1], hidden, SINC_FILTERS // POOL, pool_ratios)
        self.embedding_size = self.graph.embedding_size
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(self.embedding_size, 2)

    def forward(self, features: Tensor) -> ExpertOutput:
        filtered = functional.selu(self.normalise(self.sinc(features)))
        magnitude = self.encoder(filtered).abs()  # (B, C, 23, T)
        spectral = magnitude.amax(dim=3).transpose(1, 2)
        temporal = magnitude.amax(dim=2).transpose(1, 2)
        embeddings = self.graph(spectral, temporal)
        return two_class_output(self.head(self.drop(embeddings)), embeddings)


@EXPERTS.register("aasist")
class AASIST(_AASIST):
    """AASIST on the front end `waveform`; 297,866 parameters. Tied to 64,600 samples (4.0375 s).

    Args:
        widths: channels of the encoder's first and last blocks.
        hidden: size of graph nodes in the branches; embeddings have five times this size.
        pool_ratios: fractions of nodes that the graph pools keep: spectral, temporal, within the branches.
        dropout: before the head.
        any_length: accept windows of any length; the official weights were trained on 64,600 samples.

    Source:
        Jung et al., AASIST: Audio Anti-Spoofing using Integrated Spectro-Temporal Graph Attention Networks,
        ICASSP 2022.
    """

    def __init__(
        self,
        feature_shape: tuple[int, ...],
        widths: tuple[int, int] = (32, 64),
        hidden: int = 32,
        pool_ratios: tuple[float, float, float] = (0.5, 0.7, 0.5),
        dropout: float = 0.5,
        any_length: bool = False,
    ) -> None:
        super().__init__(widths, hidden, pool_ratios, dropout, any_length, feature_shape)


@EXPERTS.register("aasist_l")
class AASISTLight(_AASIST):
    """AASIST-L, the light variant: 85,306 parameters; else as `aasist`."""

    def __init__(
        self,
        feature_shape: tuple[int, ...],
        widths: tuple[int, int] = (32, 24),
        hidden: int = 32,
        pool_ratios: tuple[float, float, float] = (0.4, 0.5, 0.7),
        dropout: float = 0.5,
        any_length: bool = False,
    ) -> None:
        super().__init__(widths, hidden, pool_ratios, dropout, any_length, feature_shape)
