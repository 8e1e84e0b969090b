"""Log-mel spectrogram with the settings of the mixture papers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError
from veravox.models.front_ends import FRONT_ENDS, FrontEnd


def hertz_to_mel(hertz: Tensor) -> Tensor:
    """HTK mel scale."""
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


def mel_to_hertz(mel: Tensor) -> Tensor:
    """Inverse of `hertz_to_mel`."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def triangular_filters(edges_hz: Tensor, bins: int, sample_rate_hz: int) -> Tensor:
    """Triangles of height 1 between consecutive edges, shape (edges - 2, bins)."""
    return triangles(edges_hz, torch.linspace(0, sample_rate_hz / 2, bins, dtype=edges_hz.dtype))


def triangles(edges_hz: Tensor, frequencies: Tensor) -> Tensor:
    """The same at any frequencies, shape (edges - 2, frequencies)."""
    lower, centre, upper = (edges_hz[i : len(edges_hz) - 2 + i, None] for i in range(3))
    rising = (frequencies - lower) / (centre - lower)
    falling = (upper - frequencies) / (upper - centre)
    return torch.minimum(rising, falling).clamp(min=0)


def mel_filters(
    bands: int, bins: int, sample_rate_hz: int, min_frequency_hz: float, max_frequency_hz: float
) -> Tensor:
    """Mel-spaced triangular filters, shape (bands, bins), float32."""
    limits = hertz_to_mel(torch.tensor([min_frequency_hz, max_frequency_hz], dtype=torch.float64))
    edges = mel_to_hertz(torch.linspace(limits[0].item(), limits[1].item(), bands + 2, dtype=torch.float64))
    return triangular_filters(edges, bins, sample_rate_hz).float()


def check_bands(bands: int, min_frequency_hz: float, max_frequency_hz: float, sample_rate_hz: int) -> None:
    """Check that there are bands, between frequencies that there are.

    Raises:
        ConfigurationError: naming what was asked.
    """
    if bands < 1 or not 0 <= min_frequency_hz < max_frequency_hz <= sample_rate_hz / 2:
        raise ConfigurationError(
            f"{bands} bands from {min_frequency_hz:g} to {max_frequency_hz:g} Hz cannot be; ask for 1 or more, in "
            f"rising order from 0 to {sample_rate_hz / 2:g} Hz"
        )


def pre_emphasise(windows: Tensor, coefficient: float, reflect: bool = False) -> Tensor:
    """y[n] = x[n] - coefficient x[n-1]; the first sample stays, or x[1] stands before it if they reflect."""
    if reflect:
        windows = torch.cat([windows[:, 1:2], windows], dim=1)
        return windows[:, 1:] - coefficient * windows[:, :-1]
    return torch.cat([windows[:, :1], windows[:, 1:] - coefficient * windows[:, :-1]], dim=1)


class PowerSpectrum(nn.Module):
    """Power of a Hamming-windowed STFT, centred frames: (B, S) to (B, fft // 2 + 1, S // hop + 1).

    Args:
        beyond: what lies beyond the edges: `reflect`, or `constant` for zeros.
    """

    window: Tensor

    def __init__(self, fft: int, frame: int, hop: int, beyond: str = "reflect") -> None:
        super().__init__()
        if not 0 < frame <= fft or hop < 1:
            raise ConfigurationError(
                f"a spectrum needs a frame from 1 to its fft, and a hop from 1; not fft {fft}, frame {frame}, "
                f"hop {hop}"
            )
        self.fft, self.frame, self.hop, self.beyond = fft, frame, hop, beyond
        self.register_buffer("window", torch.hamming_window(frame, periodic=True), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        if windows.shape[1] <= self.fft // 2:
            raise ConfigurationError(
                f"windows of {windows.shape[1]} samples are too short for an fft of {self.fft}; set a longer "
                "window_s"
            )
        spectrum = torch.stft(
            windows.float(), self.fft, self.hop, self.frame, self.window, True, self.beyond, return_complex=True
        )
        return spectrum.real.square() + spectrum.imag.square()


@FRONT_ENDS.register("log_mel")
class LogMel(FrontEnd):
    """Log-mel spectrogram; each band's mean over time is removed, which also removes its level and channel.

    Args:
        reflect: pre-emphasis takes the second sample for the one before the first, as the mixture papers' code;
            otherwise the first sample stays as it is. Only the first two frames tell it.

    Source:
        Settings of the mixture papers: 80 bands, FFT 512, window 400, hop 160, 20-7600 Hz, pre-emphasis 0.97.
    """

    hears = (
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
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        features = torch.matmul(self.filters, self.power(pre_emphasise(windows, self.pre_emphasis, self.reflect)))
        features = torch.log(features + 1e-6)
        return features - features.mean(dim=2, keepdim=True) if self.remove_mean else features
