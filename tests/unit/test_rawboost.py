"""RawBoost against its definition: a textbook version is written out here and compared in what it does."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import scipy.stats

import veravox
from veravox.augment.rawboost import RawBoost, filter_powers, notch_filters
from veravox.errors import ConfigurationError

RATE_HZ = 16000


def rng(seed=0):
    return np.random.default_rng(seed)


def speech_like(samples=8000, peak=0.9):
    noise = scipy.signal.lfilter([1], [1, -0.9], rng(5).standard_normal(samples))
    swell = 0.1 + np.abs(np.sin(np.arange(samples) / 900))
    wave = noise * swell
    return (peak * wave / np.abs(wave).max()).astype(np.float32)


def textbook_notch(generator, gain_db):
    """Five band-stop filters of the window method, convolved, their peak scaled to the gain."""
    filter_ = np.ones(1)
    for _ in range(5):
        centre, width = generator.uniform(20, 8000), generator.uniform(100, 1000)
        taps = int(generator.uniform(10, 100))
        taps += taps % 2 == 0
        low, high = max(centre - width / 2, 0.001), min(centre + width / 2, RATE_HZ / 2 - 0.001)
        single = scipy.signal.firwin(taps, [low, high], window="hamming", fs=RATE_HZ)
        filter_ = np.convolve(single, filter_)
    return 10 ** (gain_db / 20) * filter_ / np.abs(scipy.signal.freqz(filter_)[1]).max()


def textbook_convolutive(waveform, generator):
    mixed = np.zeros(len(waveform))
    for order in range(1, 6):
        gain_db = 0 if order == 1 else generator.uniform(-20, -5)
        taps = textbook_notch(generator, gain_db)
        half = len(taps) // 2
        power = np.pad(waveform.astype(float) ** order, (0, half))
        mixed += scipy.signal.lfilter(taps, 1, power)[half:]
    mixed -= mixed.mean()
    return mixed / max(1, np.abs(mixed).max())


def spectra_db(waveforms):
    """Welch spectra of many waveforms, in dB, averaged into 16 bands: shape (waveforms, 16)."""
    power = scipy.signal.welch(np.stack(waveforms), RATE_HZ, nperseg=256)[1][:, 1:]
    return 10 * np.log10(power.reshape(len(power), 16, -1).mean(axis=-1))


def test_a_cascade_of_notches_equals_the_window_method():
    generator = rng(1)
    low = generator.uniform(0.0001, 0.6, (4, 5))
    high = np.minimum(low + generator.uniform(0.01, 0.2, (4, 5)), 0.9999)
    taps = generator.integers(10, 100, (4, 5)) | 1
    for row, ours in enumerate(notch_filters(low, high, taps)):
        expected = np.ones(1)
        for band in range(5):
            single = scipy.signal.firwin(taps[row, band], [low[row, band], high[row, band]], fs=2)
            expected = np.convolve(single, expected)
        expected /= np.abs(scipy.signal.freqz(expected)[1]).max()
        margin = (len(ours) - len(expected)) // 2
        assert np.allclose(ours[margin : margin + len(expected)], expected, atol=1e-12)
        assert np.abs(ours[:margin]).max(initial=0) < 1e-12


@pytest.mark.parametrize("samples", [3, 400, 1558, 20_000])
def test_filtered_powers_equal_one_filter_after_another(samples):
    filters = RawBoost().draw_filters(5, RATE_HZ, rng(3)) * np.array([1, 0.5, 0.3, 0.2, 0.4])[:, None]
    waveform = speech_like(samples)
    half = filters.shape[1] // 2
    expected = sum(
        np.convolve(waveform.astype(float) ** (order + 1), taps)[half : half + samples]
        for order, taps in enumerate(filters)
    )
    assert np.allclose(filter_powers(waveform, filters), expected, atol=2e-6)


def test_convolutive_noise_has_the_spectra_of_the_definition():
    waveform = speech_like(4000)
    ours = spectra_db([RawBoost(1)(waveform, RATE_HZ, rng((1, k))) for k in range(150)])
    textbook = spectra_db([textbook_convolutive(waveform, rng((2, k))) for k in range(150)])
    error = np.sqrt((ours.var(axis=0) + textbook.var(axis=0)) / 150)
    assert (np.abs(ours.mean(axis=0) - textbook.mean(axis=0)) < 4 * error + 0.05).all()
    assert ours.std(axis=0).mean() == pytest.approx(textbook.std(axis=0).mean(), rel=0.2)


def test_convolutive_noise_has_no_mean_and_a_peak_of_at_most_one():
    peaks = []
    for k in range(60):
        result = RawBoost(1)(speech_like(peak=1.0), RATE_HZ, rng(k))
        assert abs(result.mean()) < 1e-6
        peaks.append(np.abs(result).max())
    assert max(peaks) <= 1 + 1e-6
    assert np.isclose(peaks, 1, atol=1e-6).any()  # the rule was needed
    assert min(peaks) < 0.98  # and is no normalisation


def test_impulsive_noise_touches_up_to_a_tenth_of_the_samples_evenly():
    waveform = speech_like(20_000, peak=0.3)  # 3 times as much stays below full scale
    shares = []
    for k in range(200):
        changed = RawBoost(2)(waveform, RATE_HZ, rng(k)) != waveform
        shares.append(changed.mean())
    assert max(shares) <= 0.1
    assert scipy.stats.kstest(shares, scipy.stats.uniform(0, 0.1).cdf).pvalue > 0.01


def test_impulsive_noise_is_twice_the_sample_times_two_uniform_numbers():
    waveform = speech_like(200_000, peak=0.3)
    result = RawBoost(2)(waveform, RATE_HZ, rng(11)).astype(float)
    touched = result != waveform
    factors = (result[touched] - waveform[touched]) / waveform[touched] / 2
    expected = np.prod(rng(12).uniform(-1, 1, (2, 50_000)), axis=0)
    assert np.abs(factors).max() <= 1 + 1e-4
    assert scipy.stats.ks_2samp(factors, expected).pvalue > 0.01


def test_impulsive_noise_divides_by_the_peak_only_where_it_exceeds_one():
    loud = RawBoost(2)(speech_like(peak=1.0), RATE_HZ, rng(1))
    assert np.abs(loud).max() <= 1 + 1e-6
    quiet = speech_like(peak=0.2)
    unchanged = RawBoost(2)(quiet, RATE_HZ, rng(1)) == quiet
    assert unchanged.mean() > 0.85


def test_stationary_noise_has_ten_to_forty_decibels_evenly():
    waveform = speech_like()
    ratios = []
    for k in range(200):
        noise = RawBoost(3)(waveform, RATE_HZ, rng(k)).astype(float) - waveform
        ratios.append(10 * np.log10(np.sum(waveform.astype(float) ** 2) / np.sum(noise**2)))
    assert min(ratios) > 9.9
    assert max(ratios) < 40.1
    assert scipy.stats.kstest(ratios, scipy.stats.uniform(10, 30).cdf).pvalue > 0.01


def test_stationary_noise_has_the_spectra_of_the_definition():
    waveform = np.ones(8000, np.float32)

    def shaped(noise):
        return noise / np.linalg.norm(noise)

    ours = [shaped(RawBoost(3)(waveform, RATE_HZ, rng((1, k))) - waveform) for k in range(150)]
    textbook = [
        shaped(np.convolve(rng((2, k)).standard_normal(8000), textbook_notch(rng((3, k)), 0), "same"))
        for k in range(150)
    ]
    first, second = spectra_db(ours), spectra_db(textbook)
    error = np.sqrt((first.var(axis=0) + second.var(axis=0)) / 150)
    assert (np.abs(first.mean(axis=0) - second.mean(axis=0)) < 4 * error + 0.1).all()


@pytest.mark.parametrize(("algorithm", "parts"), [(0, ()), (4, (1, 2, 3)), (5, (1, 2)), (6, (1, 3)), (7, (2, 3))])
def test_series_algorithms_are_their_parts_in_order(algorithm, parts):
    expected, generator = speech_like(), rng(9)
    for part in parts:
        expected = RawBoost(part)(expected, RATE_HZ, generator)
    assert np.array_equal(RawBoost(algorithm)(speech_like(), RATE_HZ, rng(9)), expected)


def test_the_parallel_algorithm_is_the_sum_of_two_below_full_scale():
    generator = rng(9)
    summed = RawBoost(1)(speech_like(), RATE_HZ, generator) + RawBoost(2)(speech_like(), RATE_HZ, generator)
    expected = summed / max(1, np.abs(summed).max())
    assert np.allclose(RawBoost(8)(speech_like(), RATE_HZ, rng(9)), expected, atol=1e-6)


def test_convolutive_noise_does_not_delay():
    delayed = RawBoost(1, orders=1)(speech_like(), RATE_HZ, rng(4))
    correlation = np.correlate(delayed, speech_like(), "full")
    assert abs(int(np.argmax(correlation)) - (len(delayed) - 1)) <= 1


def test_the_public_name_loads_on_first_use():
    waveform = speech_like()
    result = veravox.augment.RawBoost(algorithm=5)(waveform, RATE_HZ, rng(2))
    assert result.shape == waveform.shape
    assert not np.array_equal(result, waveform)


def test_an_unknown_algorithm_is_refused():
    with pytest.raises(ConfigurationError, match="0 to 8, not 9"):
        RawBoost(9)
