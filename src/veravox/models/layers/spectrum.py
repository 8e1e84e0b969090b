"""Power spectra and what comes before and after them, shared by the spectral front ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError


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
