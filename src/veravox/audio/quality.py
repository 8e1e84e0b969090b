"""What a recording is like, measured in one pass: no verdicts and no limits, only figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft

from veravox.audio.level import FRAME_MS, SILENCE_DBFS, active_power, dbfs

SPEECH_BAND_HZ = (100.0, 4000.0)
# One frame of white noise has a flatness near 0.56, a voiced frame under 0.3.
MAX_FLATNESS = 0.35
VOICED_REACH = 5  # frames on either side of a voiced one: consonants
MIN_MODULATION_DB = 1.5
BANDWIDTH_RANGE_DB = 60.0
OVER_FLOOR_DB = 3.0
PAUSE_GAP_DB = 5.0
SILENT_PEAK = 2.0**-16  # half a step of 16-bit PCM
LEVEL_BINS = 161  # one per dB, -160 to 0 dBFS
AMPLITUDE_BINS = 16384
MIN_SNR_FRAMES = 10
MIN_OFFSET = 0.005  # a mean under it is taken for 0


@dataclass(frozen=True)
class Quality:
    """Figures of one recording; they depend on its level only where the name says so.

    Attributes:
        duration_s: all of it.
        speech_s: seconds of speech-like signal: frames (32 ms) no more than 15.9 dB under the active level and
            within 160 ms of a voiced one (spectral flatness at 100 to 4000 Hz under 0.35); 0 if the level of
            those frames hardly changes (a standard deviation under 1.5 dB: hum, tone, noise). Singing and
            music can pass.
        bandwidth_hz: highest frequency whose mean power in the active frames is within 60 dB of the strongest,
            and 3 dB over the pauses where there are pauses; 0.0 for silence.
        snr_db: active power over the power of the quietest tenth of the frames, which it contains; low also
            for speech without pauses. None where the quietest frames are under -96 dBFS, and under 0.32 s.
        clipped_share: share of samples in a flat top: the excess of samples near the largest amplitudes over
            what a falling distribution would hold there, about the mean. A pure tone counts as clipped.
        dc_offset: mean of all samples, full scale is 1.
        peak_dbfs: largest magnitude; minus infinity for silence.
        active_level_dbfs: as `level.active_level`; minus infinity for silence.
        silence_share: share of frames in digital silence (no sample off their mean by half a 16-bit step).
    """

    duration_s: float
    speech_s: float
    bandwidth_hz: float
    snr_db: float | None
    clipped_share: float
    dc_offset: float
    peak_dbfs: float
    active_level_dbfs: float
    silence_share: float


class QualityMeter:
    """Measures a recording block by block; the figures do not depend on the block size.

    Args:
        sample_rate_hz: of the blocks.
    """

    def __init__(self, sample_rate_hz: int = 16000) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._frame = max(16, scipy.fft.next_fast_len(round(FRAME_MS * sample_rate_hz / 1000), real=True))
        self._window = np.hanning(self._frame + 1)[:-1].astype(np.float32)
        hz = np.fft.rfftfreq(self._frame, 1.0 / sample_rate_hz)
        self._speech_bins = (hz >= SPEECH_BAND_HZ[0]) & (hz <= SPEECH_BAND_HZ[1])
        self._hz = hz
        self._spectra = np.zeros((LEVEL_BINS, len(hz)))  # summed power of frames, by their level
        self._amplitudes = np.zeros((2, AMPLITUDE_BINS), np.int64)  # counts; negative, positive
        self._tail = np.zeros(0, np.float32)
        self._powers: list[np.ndarray] = []
        self._flatness: list[np.ndarray] = []
        self._samples = self._silent = 0
        self._sum = self._peak = 0.0

    def update(self, block: np.ndarray) -> None:
        """Take the next samples: float, shape (samples,)."""
        block = np.asarray(block, dtype=np.float32)
        if not len(block):
            return
        self._samples += len(block)
        self._sum += float(block.sum(dtype=np.float64))
        self._peak = max(self._peak, float(block.max()), -float(block.min()))
        self._count_amplitudes(block)
        block = np.concatenate([self._tail, block]) if len(self._tail) else block
        whole = len(block) // self._frame * self._frame
        self._tail = block[whole:].copy()
        if whole:
            self._take_frames(block[:whole].reshape(-1, self._frame))

    def _count_amplitudes(self, block: np.ndarray) -> None:
        scaled = block * np.float32(AMPLITUDE_BINS)
        bins = np.clip(scaled, 1 - AMPLITUDE_BINS, AMPLITUDE_BINS - 1, out=scaled).astype(np.int32)
        counts = np.bincount(bins + AMPLITUDE_BINS, minlength=2 * AMPLITUDE_BINS)
        self._amplitudes[1] += counts[AMPLITUDE_BINS:]
        self._amplitudes[0, 1:] += counts[AMPLITUDE_BINS - 1 : 0 : -1]

    def _take_frames(self, frames: np.ndarray) -> None:
        frames = frames - frames.mean(axis=1, keepdims=True)  # (F, S)
        self._silent += int(np.count_nonzero(np.abs(frames).max(axis=1) < SILENT_PEAK))
        powers = np.einsum("fs,fs->f", frames, frames) / self._frame
        spectrum = scipy.fft.rfft(frames * self._window, axis=1)
        power = spectrum.real**2 + spectrum.imag**2  # (F, K)
        band = power[:, self._speech_bins] + np.float32(1e-12)
        self._flatness.append(np.exp(np.log(band).mean(axis=1)) / band.mean(axis=1))
        self._powers.append(powers)
        bins = np.clip(_level_db(powers) + LEVEL_BINS - 1, 0, LEVEL_BINS - 1).astype(np.int64)
        members = (bins == np.arange(LEVEL_BINS)[:, None]).astype(np.float32)  # (levels, F)
        self._spectra += members @ power

    def result(self) -> Quality:
        """The figures of all samples so far; the meter may go on afterwards."""
        powers = np.concatenate(self._powers) if self._powers else np.zeros(0, np.float32)
        if not len(powers) and self._samples:
            # Shorter than a frame: nothing but its level is known.
            powers = np.array([np.var(self._tail)], np.float32)
        active, threshold = active_power(powers)
        silent_frames = self._silent if self._powers else int(self._samples > 0 and self._peak < SILENT_PEAK)
        return Quality(
            duration_s=self._samples / self.sample_rate_hz,
            speech_s=self._speech_s(powers, threshold),
            bandwidth_hz=self._bandwidth_hz(powers, threshold),
            snr_db=_snr_db(powers, active),
            clipped_share=self._clipped_share(),
            dc_offset=self._sum / max(1, self._samples),
            peak_dbfs=dbfs(self._peak),
            active_level_dbfs=dbfs(float(np.sqrt(active))),
            silence_share=silent_frames / max(1, len(powers)),
        )

    def _speech_s(self, powers: np.ndarray, threshold: float) -> float:
        if not self._flatness:
            return 0.0
        active = powers >= threshold
        voiced = active & (np.concatenate(self._flatness) < MAX_FLATNESS)
        near = np.convolve(voiced, np.ones(2 * VOICED_REACH + 1), mode="same")[: len(voiced)] > 0.5
        speech = active & near if len(voiced) > 2 * VOICED_REACH else active & voiced.any()
        if not speech.any() or float(np.std(_level_db(powers[speech]))) < MIN_MODULATION_DB:
            return 0.0
        return float(np.count_nonzero(speech)) * self._frame / self.sample_rate_hz

    def _bandwidth_hz(self, powers: np.ndarray, threshold: float) -> float:
        if not self._powers or not np.isfinite(threshold):
            return 0.0
        levels = np.arange(1 - LEVEL_BINS, 1)
        counts = np.bincount(
            np.clip(_level_db(powers) + LEVEL_BINS - 1, 0, LEVEL_BINS - 1).astype(np.int64), minlength=LEVEL_BINS
        )
        threshold_db = min(10.0 * np.log10(threshold), 0.0)  # louder frames share the last of the levels
        loud = levels >= np.floor(threshold_db)
        quiet = (levels < threshold_db - PAUSE_GAP_DB) & (levels > levels[0])
        speech = _smooth(self._spectra[loud].sum(axis=0) / max(1, counts[loud].sum()))
        wanted = speech > speech.max() * 10.0 ** (-BANDWIDTH_RANGE_DB / 10.0)
        if counts[quiet].sum() >= 5:
            floor = _smooth(self._spectra[quiet].sum(axis=0) / counts[quiet].sum())
            wanted &= speech > floor * 10.0 ** (OVER_FLOOR_DB / 10.0)
        return float(self._hz[np.flatnonzero(wanted)[-1]]) if wanted.any() else 0.0

    def _clipped_share(self) -> float:
        """Measured about the mean: an offset moves both sides and clips neither."""
        counts = np.concatenate([self._amplitudes[0, :0:-1], self._amplitudes[1]])  # ascending
        mean = self._sum / max(1, self._samples)
        centre = AMPLITUDE_BINS - 1 + (round(mean * AMPLITUDE_BINS) if abs(mean) >= MIN_OFFSET else 0)
        centre = int(np.clip(centre, 0, len(counts)))
        below = np.concatenate([[0], counts[:centre][::-1]])
        return (_flat_top(counts[centre:]) + _flat_top(below)) / max(1, self._samples)


def _level_db(powers: np.ndarray) -> np.ndarray:
    return 10.0 * np.log10(np.maximum(powers, 1e-20))


def _smooth(spectrum: np.ndarray) -> np.ndarray:
    """Mean over three neighbours, so that one weak bin decides nothing."""
    return np.convolve(spectrum, np.full(3, 1 / 3), mode="same")


def _snr_db(powers: np.ndarray, active: float) -> float | None:
    if len(powers) < MIN_SNR_FRAMES or not active:
        return None
    noise = float(np.percentile(powers, 10))
    if noise <= 10.0 ** (SILENCE_DBFS / 10.0):
        return None
    return float(10.0 * np.log10(max(active / noise - 1.0, 0.01)))


def _flat_top(counts: np.ndarray) -> int:
    """Samples near the largest amplitude beyond what a falling distribution would hold; counts per amplitude."""
    filled = np.flatnonzero(counts)
    if not len(filled) or filled[-1] < 64:
        return 0
    edges = np.linspace(0, filled[-1] + 1, 21).astype(int)
    coarse = np.add.reduceat(counts[: edges[-1]], edges[:-1])
    below = np.minimum.accumulate(coarse)[:-1]
    excess = coarse[1:] - below
    sure = excess > 4.0 * np.sqrt(below) + 8.0
    return int(excess[9:][sure[9:]].sum())
