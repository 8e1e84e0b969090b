"""Griffin-Lim: phases found anew for the magnitudes, as of the first neural text-to-speech systems."""

from __future__ import annotations

import numpy as np

from veravox.audio.mel import mel_filters
from veravox.audio.power import at_power_of
from veravox.audio.stft import OVERLAP, overlap_add, stft
from veravox.augment.ranges import check_within
from veravox.augment.synthesis import SYNTHESES, Synthesis

FRAME_S = 0.05
MOMENTUM = 0.99


@SYNTHESES.register("griffin_lim")
class GriffinLim(Synthesis):
    """Magnitudes, optionally through a mel spectrogram, with phases from fast Griffin-Lim.

    Args:
        iterations: more sound better and cost more.
        mel_bands: bands that the magnitudes go through; 0 keeps them as they are.
    Source:
        Perraudin, Balazs, Søndergaard: A fast Griffin-Lim algorithm, WASPAA 2013.
    """

    def __init__(self, iterations: int = 16, mel_bands: int = 80) -> None:
        check_within("griffin_lim", 1, 1000, iterations=iterations)
        check_within("griffin_lim", 0, 200, mel_bands=mel_bands)
        self.iterations = iterations
        self.mel_bands = mel_bands

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform with other phases, at the power it had."""
        size = 2 * OVERLAP * max(1, round(FRAME_S * sample_rate_hz / (2 * OVERLAP)))
        inside = slice(size, size + len(waveform))
        magnitudes = np.abs(stft(waveform, size))
        if self.mel_bands:
            bank = mel_filters(self.mel_bands, size // 2 + 1, sample_rate_hz, 0.0, sample_rate_hz / 2).astype(
                np.float32
            )
            magnitudes = np.maximum(magnitudes @ bank.T @ np.linalg.pinv(bank).T, 0).astype(np.float32)
        turns = rng.random(magnitudes.shape, dtype=np.float32)
        spectra = magnitudes * np.exp(np.complex64(2j * np.pi) * turns)
        previous = np.zeros_like(spectra)
        for _ in range(self.iterations):
            consistent = stft(overlap_add(spectra, size)[inside], size)
            sped = consistent + np.float32(MOMENTUM) * (consistent - previous)
            previous = consistent
            spectra = magnitudes * sped / np.maximum(np.abs(sped), np.float32(1e-12))
        return at_power_of(overlap_add(spectra, size)[inside], waveform)
