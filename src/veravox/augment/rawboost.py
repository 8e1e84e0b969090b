"""RawBoost: convolutive and additive distortions of telephony, drawn anew for every waveform."""

from __future__ import annotations

import numpy as np
import scipy.fft

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_positive, check_range
from veravox.errors import ConfigurationError

RESPONSE_POINTS = 512
"""Frequencies from 0 to below half the sampling rate at which a filter's peak is looked for."""
EDGE_HZ = 0.001
LNL, ISD, SSI = "lnl", "isd", "ssi"
SERIES: dict[int, tuple[str, ...]] = {
    0: (),
    1: (LNL,),
    2: (ISD,),
    3: (SSI,),
    4: (LNL, ISD, SSI),
    5: (LNL, ISD),
    6: (LNL, SSI),
    7: (ISD, SSI),
}
PARALLEL = 8


@AUGMENTATIONS.register("rawboost")
class RawBoost(Augmentation):
    """Linear and non-linear convolutive noise (LnL), impulsive signal-dependent noise (ISD), stationary
    signal-independent noise (SSI), alone or combined.

    Algorithms: 0 none, 1 LnL, 2 ISD, 3 SSI, 4 = 1 then 2 then 3, 5 = 1 then 2, 6 = 1 then 3, 7 = 2 then 3,
    8 = the sum of 1 and 2. LnL, ISD and 8 divide by the peak where it exceeds 1; LnL also removes the mean.
    The group delay of the filters is taken out. Below 16 kHz the bands stay under half the sampling rate.

    Args:
        algorithm: 0 to 8.
        orders: LnL sums a filtered x^1 to x^orders.
        bands: stop bands of each filter.
        min_centre_hz: of a stop band; with `max_centre_hz`.
        min_width_hz: of a stop band; with `max_width_hz`.
        min_taps: of one band's filter; with `max_taps` (excluded); even numbers become odd.
        min_gain_db: of a filter's peak; with `max_gain_db`.
        min_reduction_db: how much lower orders above the first are; with `max_reduction_db`.
        max_touched_share: of the samples that ISD touches; the share is uniform from 0.
        impulse_gain: strength of ISD.
        min_snr_db: of SSI; with `max_snr_db`.
    Source:
        Tak, Kamble, Patino, Todisco, Evans: RawBoost, ICASSP 2022; defaults of the published code.
    """

    def __init__(
        self,
        algorithm: int = 5,
        orders: int = 5,
        bands: int = 5,
        min_centre_hz: float = 20.0,
        max_centre_hz: float = 8000.0,
        min_width_hz: float = 100.0,
        max_width_hz: float = 1000.0,
        min_taps: int = 10,
        max_taps: int = 100,
        min_gain_db: float = 0.0,
        max_gain_db: float = 0.0,
        min_reduction_db: float = 5.0,
        max_reduction_db: float = 20.0,
        max_touched_share: float = 0.1,
        impulse_gain: float = 2.0,
        min_snr_db: float = 10.0,
        max_snr_db: float = 40.0,
    ) -> None:
        if algorithm not in (*SERIES, PARALLEL):
            raise ConfigurationError(f"rawboost: algorithm must be 0 to 8, not {algorithm}")
        check_positive("rawboost", orders=orders, bands=bands, min_centre_hz=min_centre_hz, min_taps=min_taps)
        check_positive("rawboost", min_width_hz=min_width_hz)
        check_range("rawboost", "min_centre_hz", min_centre_hz, "max_centre_hz", max_centre_hz)
        check_range("rawboost", "min_width_hz", min_width_hz, "max_width_hz", max_width_hz)
        check_range("rawboost", "min_taps", min_taps, "max_taps", max_taps)
        check_range("rawboost", "min_gain_db", min_gain_db, "max_gain_db", max_gain_db)
        check_range("rawboost", "min_reduction_db", min_reduction_db, "max_reduction_db", max_reduction_db)
        check_range("rawboost", "0", 0.0, "max_touched_share", max_touched_share)
        check_range("rawboost", "max_touched_share", max_touched_share, "1", 1.0)
        check_range("rawboost", "min_snr_db", min_snr_db, "max_snr_db", max_snr_db)
        self.algorithm = algorithm
        self.orders = orders
        self.bands = bands
        self.centre_hz = (min_centre_hz, max_centre_hz)
        self.width_hz = (min_width_hz, max_width_hz)
        self.taps = (min_taps, max_taps)
        self.gain_db = (min_gain_db, max_gain_db)
        self.reduction_db = (min_reduction_db, max_reduction_db)
        self.max_touched_share = max_touched_share
        self.impulse_gain = impulse_gain
        self.snr_db = (min_snr_db, max_snr_db)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform after the algorithm's noises."""
        if self.algorithm == PARALLEL:
            first = self.convolutive(waveform, sample_rate_hz, rng)
            return _below_full_scale(first + self.impulsive(waveform, rng))
        for noise in SERIES[self.algorithm]:
            if noise == LNL:
                waveform = self.convolutive(waveform, sample_rate_hz, rng)
            elif noise == ISD:
                waveform = self.impulsive(waveform, rng)
            else:
                waveform = self.stationary(waveform, sample_rate_hz, rng)
        return waveform

    def draw_filters(self, count: int, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """Multi-notch filters with a peak gain of 1, each centred in its row, shape (count, odd taps)."""
        shape = (count, self.bands)
        nyquist_hz = sample_rate_hz / 2
        highest_hz = min(self.centre_hz[1], nyquist_hz)
        centre_hz = rng.uniform(min(self.centre_hz[0], highest_hz), highest_hz, shape)
        width_hz = rng.uniform(*self.width_hz, shape)
        taps = rng.uniform(*self.taps, shape).astype(np.int64) | 1
        low_hz = np.maximum(centre_hz - width_hz / 2, EDGE_HZ)
        high_hz = np.minimum(centre_hz + width_hz / 2, nyquist_hz - EDGE_HZ)
        return notch_filters(low_hz / nyquist_hz, high_hz / nyquist_hz, taps)

    def convolutive(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """LnL: the sum of filtered powers of the waveform, its mean removed, its peak at most 1."""
        filters = self.draw_filters(self.orders, sample_rate_hz, rng)
        gain_db = rng.uniform(*self.gain_db, self.orders)
        if self.orders > 1:
            low_db = self.gain_db[0] - self.reduction_db[0]
            high_db = self.gain_db[1] - self.reduction_db[1]
            gain_db[1:] = rng.uniform(min(low_db, high_db), max(low_db, high_db), self.orders - 1)
        filters *= 10 ** (gain_db / 20)[:, None]
        mixed = filter_powers(waveform, filters)
        return _below_full_scale(mixed - mixed.mean(dtype=np.float64).astype(np.float32))

    def impulsive(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """ISD: a random share of the samples changes by up to `impulse_gain` times its own size."""
        touched = int(len(waveform) * rng.uniform(0.0, self.max_touched_share))
        positions = rng.choice(len(waveform), touched, replace=False, shuffle=False)
        first, second = rng.uniform(-1.0, 1.0, (2, touched)).astype(np.float32)
        changed = waveform.copy()
        changed[positions] *= 1 + np.float32(self.impulse_gain) * first * second
        return _below_full_scale(changed)

    def stationary(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """SSI: filtered Gaussian noise at a random SNR, on top of the waveform."""
        filters = self.draw_filters(1, sample_rate_hz, rng)
        noise = filter_powers(rng.standard_normal(len(waveform), dtype=np.float32), filters)
        size = float(np.linalg.norm(noise))
        wanted = float(np.linalg.norm(waveform)) * 10 ** (-rng.uniform(*self.snr_db) / 20)
        return waveform + noise * np.float32(wanted / size if size > 0 else 0.0)


def notch_filters(low: np.ndarray, high: np.ndarray, taps: np.ndarray) -> np.ndarray:
    """Cascades of linear-phase band-stop filters (Hamming windows), scaled to a peak gain of 1.

    Args:
        low: lower edges as a fraction of half the sampling rate, shape (count, bands).
        high: upper edges, the same shape.
        taps: odd lengths of the single filters, the same shape.
    Returns:
        float64, shape (count, width): every filter centred in its row, zeros around it.
    """
    half = int(taps.max()) // 2
    offsets = np.arange(-half, half + 1)  # (taps,)
    reach = (taps // 2)[..., None]
    window = np.where(np.abs(offsets) <= reach, 0.54 + 0.46 * np.cos(np.pi * offsets / np.maximum(reach, 1)), 0)
    ideal = (offsets == 0) - high[..., None] * np.sinc(high[..., None] * offsets)
    ideal = ideal + low[..., None] * np.sinc(low[..., None] * offsets)
    singles = ideal * window  # (count, bands, taps)
    singles /= singles.sum(axis=-1, keepdims=True)
    width = singles.shape[1] * 2 * half + 1
    points = scipy.fft.next_fast_len(max(width, 2 * RESPONSE_POINTS), real=True)
    response = np.prod(scipy.fft.rfft(singles, points, axis=-1), axis=1)  # (count, frequencies)
    response /= np.abs(response[:, : points // 2]).max(axis=-1, keepdims=True)
    return scipy.fft.irfft(response, points, axis=-1)[:, :width]


def filter_powers(waveform: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Sum over i of x^(i+1) filtered with row i, without delay; float32, shape (samples,).

    Overlapping blocks share one transform length that fits the processor's cache, and the sum is taken
    before the way back: several times faster than filtering the orders one by one.
    """
    orders, taps = filters.shape
    half = taps // 2
    size = 2048 if taps <= 1024 else scipy.fft.next_fast_len(4 * taps, real=True)
    step = size - taps + 1
    blocks = -(-len(waveform) // step)
    padded = np.zeros(blocks * step + taps - 1, np.float32)
    padded[half : half + len(waveform)] = waveform
    responses = scipy.fft.rfft(filters.astype(np.float32), size, axis=-1)  # (orders, frequencies)
    framed = np.lib.stride_tricks.sliding_window_view(padded, size)[::step]  # (blocks, size)
    power = framed.copy()
    total = scipy.fft.rfft(power, axis=-1)
    total *= responses[0]
    for order in range(1, orders):
        power *= framed
        spectrum = scipy.fft.rfft(power, axis=-1)
        spectrum *= responses[order]
        total += spectrum
    filtered = scipy.fft.irfft(total, size, axis=-1)[:, taps - 1 :]
    return np.ascontiguousarray(filtered).reshape(-1)[: len(waveform)]


def _below_full_scale(waveform: np.ndarray) -> np.ndarray:
    peak = float(max(waveform.max(), -waveform.min()))
    return waveform / np.float32(peak) if peak > 1 else waveform
