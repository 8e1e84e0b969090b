"""Log-power spectrogram on the linear frequency axis."""

from __future__ import annotations

import torch
from torch import Tensor

from veravox.models.front_ends import FRONT_ENDS, FrontEnd
from veravox.models.layers.spectrum import PowerSpectrum


@FRONT_ENDS.register("log_spectrogram")
class LogSpectrogram(FrontEnd):
    """Log-power spectrogram, every FFT bin; each bin's mean over time is removed."""

    captures = (
        "fine structure up to 8 kHz at equal resolution, so artefacts of vocoders at high frequencies; no phase"
    )

    def __init__(self, fft: int = 512, frame: int = 400, hop: int = 160, remove_mean: bool = True) -> None:
        super().__init__()
        self.power = PowerSpectrum(fft, frame, hop)
        self.remove_mean = remove_mean

    def forward(self, windows: Tensor) -> Tensor:
        features = torch.log(self.power(windows) + 1e-6)
        return features - features.mean(dim=2, keepdim=True) if self.remove_mean else features
