"""Linear-frequency cepstral coefficients with deltas, as in the ASVspoof baselines."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from veravox.audio.mel import triangular_filters
from veravox.models.front_ends import FRONT_ENDS, FrontEnd
from veravox.models.layers.spectrum import PowerSpectrum, check_bands, pre_emphasise

FLOOR = torch.finfo(torch.float32).eps


def cosine_basis(size: int) -> Tensor:
    """Orthonormal DCT-II matrix, shape (size, size): row k is coefficient k."""
    n = torch.arange(size, dtype=torch.float64)
    basis = torch.cos(math.pi / size * (n[None, :] + 0.5) * n[:, None]) * math.sqrt(2.0 / size)
    basis[0] /= math.sqrt(2.0)
    return basis.float()


def deltas(features: Tensor) -> Tensor:
    """Difference of the next and the previous frame, edges repeated; same shape (B, F, T)."""
    padded = torch.nn.functional.pad(features, (1, 1), mode="replicate")
    return padded[..., 2:] - padded[..., :-2]


@FRONT_ENDS.register("lfcc")
class LFCC(FrontEnd):
    """LFCC, deltas and double deltas, shape (B, 3 x coefficients, T); c0 is replaced by the log energy.

    As published: zeros beyond the edges; only the bins below `max_frequency_hz` count, also for the energy, which
    is divided by the size of the FFT; the filters are spread over these bins as if the last lay at that frequency.

    Source:
        The LFCC-LCNN baseline of ASVspoof 2021 (code): frame 320, hop 160, FFT 1024, 20 linear filters to 4 kHz.
    """

    captures = "smooth spectral envelope and its speed of change up to 4 kHz; blind above it and to phase"
    filters: Tensor
    basis: Tensor

    def __init__(
        self,
        sample_rate_hz: int = 16000,
        coefficients: int = 20,
        fft: int = 1024,
        frame: int = 320,
        hop: int = 160,
        max_frequency_hz: float = 4000.0,
        pre_emphasis: float = 0.97,
    ) -> None:
        super().__init__()
        self.power = PowerSpectrum(fft, frame, hop, beyond="constant")
        self.pre_emphasis = pre_emphasis
        check_bands(coefficients, 0.0, max_frequency_hz, sample_rate_hz)
        self.bins = int(max_frequency_hz / (sample_rate_hz / 2) * (fft // 2 + 1))
        edges_hz = np.linspace(0.0, max_frequency_hz, coefficients + 2)
        filters = triangular_filters(edges_hz, np.linspace(0.0, max_frequency_hz, self.bins))
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)
        self.register_buffer("basis", cosine_basis(coefficients), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        power = self.power(pre_emphasise(windows, self.pre_emphasis))[:, : self.bins]
        cepstra = torch.matmul(self.basis, torch.log10(torch.matmul(self.filters, power) + FLOOR))
        energy = torch.log10(power.sum(dim=1, keepdim=True) / self.power.fft + FLOOR)
        static = torch.cat([energy, cepstra[:, 1:]], dim=1)
        speed = deltas(static)
        return torch.cat([static, speed, deltas(speed)], dim=1)
