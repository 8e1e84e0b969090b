"""Log-mel spectrogram with the settings of the mixture papers."""

from __future__ import annotations

import torch
from torch import Tensor

from veravox.audio.mel import mel_filters
from veravox.models.front_ends import FRONT_ENDS, FrontEnd
from veravox.models.layers.spectrum import PowerSpectrum, check_bands, pre_emphasise


@FRONT_ENDS.register("log_mel")
class LogMel(FrontEnd):
    """Log-mel spectrogram; each band's mean over time is removed, which also removes its level and channel.

    Args:
        reflect: pre-emphasis takes the second sample for the one before the first, as the mixture papers' code;
            otherwise the first sample stays as it is. Only the first two frames tell it.

    Source:
        Settings of the mixture papers: 80 bands, FFT 512, window 400, hop 160, 20-7600 Hz, pre-emphasis 0.97.
    """

    captures = (
        "coarse spectral envelope over time up to 7.6 kHz; blind to phase, fine harmonics and stationary colour"
    )
    filters: Tensor

    def __init__(
        self,
        sample_rate_hz: int = 16000,
        bands: int = 80,
        fft: int = 512,
        frame: int = 400,
        hop: int = 160,
        min_frequency_hz: float = 20.0,
        max_frequency_hz: float = 7600.0,
        pre_emphasis: float = 0.97,
        remove_mean: bool = True,
        reflect: bool = False,
    ) -> None:
        super().__init__()
        self.power = PowerSpectrum(fft, frame, hop)
        self.pre_emphasis, self.remove_mean, self.reflect = pre_emphasis, remove_mean, reflect
        check_bands(bands, min_frequency_hz, max_frequency_hz, sample_rate_hz)
        filters = mel_filters(bands, fft // 2 + 1, sample_rate_hz, min_frequency_hz, max_frequency_hz)
        self.register_buffer("filters", torch.from_numpy(filters).float(), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        features = torch.matmul(self.filters, self.power(pre_emphasise(windows, self.pre_emphasis, self.reflect)))
        features = torch.log(features + 1e-6)
        return features - features.mean(dim=2, keepdim=True) if self.remove_mean else features
