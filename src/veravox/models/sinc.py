"""Fixed mel-spaced sinc band-pass filters, as the raw-waveform experts use them."""

from __future__ import annotations

import torch
from torch import Tensor

from veravox.models.front_ends.log_mel import hertz_to_mel, mel_to_hertz


def mel_sinc_filters(filters: int, taps: int, sample_rate_hz: int = 16000) -> Tensor:
    """Impulse responses, shape (filters, taps), float32; their bands tile 0 Hz to half the sample rate.

    Each is the difference of two ideal low-pass filters, times a Hamming window.

    Source:
        Ravanelli and Bengio, Speaker Recognition from Raw Waveform with SincNet, SLT 2018; mel-spaced and
        fixed as in RawNet2 and AASIST.
    """
    limits = hertz_to_mel(torch.tensor([0.0, sample_rate_hz / 2], dtype=torch.float64))
    mels = torch.linspace(limits[0].item(), limits[1].item(), filters + 1, dtype=torch.float64)
    cutoffs = 2.0 * mel_to_hertz(mels) / sample_rate_hz  # as fractions of the Nyquist frequency
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
