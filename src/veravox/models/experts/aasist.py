"""AASIST: sinc filters, a residual encoder, and graphs of spectral and temporal nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from veravox.errors import ConfigurationError
from veravox.models.batch_norm import BatchNorm
from veravox.models.convolution import Convolution
from veravox.models.experts import EXPERTS, Expert, ExpertOutput, two_class_output
from veravox.models.graphs import SpectroTemporalGraph
from veravox.models.sinc import mel_sinc_filters

SINC_FILTERS, SINC_TAPS, POOL = 70, 129, 3
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


def _convolve(inputs: Tensor, convolution: nn.Conv2d, normalise: BatchNorm) -> Tensor:
    """Convolution and batch norm; in evaluation mode the norm is folded into the kernel."""
    if normalise.training:
        return normalise(convolution(inputs))
    assert normalise.running_mean is not None
    assert normalise.running_var is not None
    assert convolution.bias is not None
    scale = normalise.weight * torch.rsqrt(normalise.running_var + normalise.eps)
    kernel = convolution.weight * scale[:, None, None, None]
    offset = (convolution.bias - normalise.running_mean) * scale + normalise.bias
    return functional.conv2d(inputs, kernel, offset, padding=convolution.padding)


class EncoderBlock(nn.Module):
    """(B, C_in, F, T) to (B, C_out, F, T or T // 3): two convolutions of 2 bins x 3 frames and a skip.

    In every block but the first of the published network, a batch norm and SELU of the input are computed
    and then discarded. Their weights are kept here, so that checkpoints fit, and take no part.
    """

    def __init__(self, size_in: int, size_out: int, first: bool = False, pool: bool = True) -> None:
        super().__init__()
        self.discarded = None if first else BatchNorm(size_in).requires_grad_(False)
        self.enter = Convolution(size_in, size_out, (2, 3), rows=1)
        self.normalise = BatchNorm(size_out)
        self.leave = Convolution(size_out, size_out, (2, 3), rows=0)
        self.skip = Convolution(size_in, size_out, (1, 3), rows=0) if size_in != size_out else None
        self.pool = pool

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.selu(_convolve(inputs, self.enter, self.normalise), inplace=True)
        outputs = self.leave(hidden)
        outputs += inputs if self.skip is None else self.skip(inputs)
        return functional.max_pool2d(outputs, (1, POOL)) if self.pool else outputs


def encoder(widths: tuple[int, int], pool: bool = True) -> nn.Sequential:
    """The six residual blocks: 1 to widths[0], then two of that width and four of widths[1]."""
    low, high = widths
    sizes = [(1, low), (low, low), (low, high), (high, high), (high, high), (high, high)]
    return nn.Sequential(*(EncoderBlock(*size, first=index == 0, pool=pool) for index, size in enumerate(sizes)))


class _AASIST(Expert):
    inductive_bias = (
        "artefacts of the waveform in any band and at any instant, and which bands and instants go together"
    )

    def __init__(
        self,
        widths: tuple[int, int],
        hidden: int,
        shares: tuple[float, float, float],
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
        self.listen = SincMagnitude()
        self.normalise = BatchNorm(1)
        self.encoder = encoder(widths)
        self.graph = SpectroTemporalGraph(widths[1], hidden, SINC_FILTERS // POOL, shares)
        self.embedding_size = self.graph.embedding_size
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(self.embedding_size, 2)

    def forward(self, features: Tensor) -> ExpertOutput:
        heard = functional.selu(self.normalise(self.listen(features)))
        magnitude = self.encoder(heard).abs()  # (B, C, 23, T)
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
        shares: of nodes kept by the graph pools: spectral, temporal, within the branches.
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
        shares: tuple[float, float, float] = (0.5, 0.7, 0.5),
        dropout: float = 0.5,
        any_length: bool = False,
    ) -> None:
        super().__init__(widths, hidden, shares, dropout, any_length, feature_shape)


@EXPERTS.register("aasist_l")
class AASISTLight(_AASIST):
    """AASIST-L, the light variant: 85,306 parameters; else as `aasist`."""

    def __init__(
        self,
        feature_shape: tuple[int, ...],
        widths: tuple[int, int] = (32, 24),
        hidden: int = 32,
        shares: tuple[float, float, float] = (0.4, 0.5, 0.7),
        dropout: float = 0.5,
        any_length: bool = False,
    ) -> None:
        super().__init__(widths, hidden, shares, dropout, any_length, feature_shape)
