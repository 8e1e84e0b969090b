"""Fixed mel-spaced sinc band-pass filters, as the raw-waveform experts use them."""

from __future__ import annotations

import torch
from torch import Tensor

from veravox.audio.mel import mel_spaced


def mel_sinc_filters(filters: int, taps: int, sample_rate_hz: int = 16000) -> Tensor:
    """Impulse responses, shape (filters, taps), float32; their bands tile 0 Hz to half the sample rate.

    Each is the difference of two ideal low-pass filters, times a Hamming window.

    Source:
        Ravanelli and Bengio, Speaker Recognition from Raw Waveform with SincNet, SLT 2018; mel-spaced and
        fixed as in RawNet2 and AASIST.
    """
    edges_hz = torch.from_numpy(mel_spaced(filters + 1, 0.0, sample_rate_hz / 2))
    cutoffs = 2.0 * edges_hz / sample_rate_hz  # as fractions of the Nyquist frequency
    times = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    low_passes = cutoffs[:, None] * torch.sinc(cutoffs[:, None] * times)
    window = torch.hamming_window(taps, periodic=False, dtype=torch.float64)
    return ((low_passes[1:] - low_passes[:-1]) * window).float()


def filter_by_spectrum(windows: Tensor, filters: Tensor) -> Tensor:
    """Windows (B, S) correlated with filters (C, taps): (B, C, S - taps + 1), no padding.

    By Fourier transform, which for a thousand taps costs far less than sliding them.
    """
    size = windows.shape[1]
    spectrum = torch.fft.rfft(windows.float(), size).unsqueeze(1) * torch.fft.rfft(filters, size).conj()
    return torch.fft.irfft(spectrum, size)[..., : size - filters.shape[1] + 1]
