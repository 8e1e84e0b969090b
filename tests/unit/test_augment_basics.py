"""Gain, band limit, noise, polarity, codecs and chains against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal

from veravox.audio.codec_backends import FORMATS, codec_rate_hz, estimate_delay, is_available, round_trip
from veravox.augment import BandLimit, Codec, Gain, Noise, Polarity
from veravox.augment.noise import add_at_snr, coloured_noise
from veravox.batches import Chain, build_chain
from veravox.errors import AugmentationError, ConfigurationError
from veravox.registry import Spec

RATE_HZ = 16000


def rng(seed=0):
    return np.random.default_rng(seed)


def hiss(samples=RATE_HZ):
    return (0.1 * rng(1).standard_normal(samples)).astype(np.float32)


def level_db(waveform, low_hz, high_hz, sample_rate_hz=RATE_HZ):
    frequencies, power = scipy.signal.welch(waveform, sample_rate_hz, nperseg=1024)
    return 10 * np.log10(power[(frequencies >= low_hz) & (frequencies < high_hz)].mean() + 1e-20)


@pytest.fixture(scope="module")
def speech(samples):
    import soundfile

    waveform, rate_hz = soundfile.read(samples / "dev/bonafide/asterisk-core-fr/u687f7975d7.flac", dtype="float32")
    assert rate_hz == RATE_HZ
    return waveform


def test_gain_stays_in_its_range_and_reaches_its_ends():
    source = hiss(100)
    ratios = [Gain(-6, 3)(source, RATE_HZ, rng(k))[5] / source[5] for k in range(300)]
    decibels = 20 * np.log10(ratios)
    assert -6 <= decibels.min() < -5.8
    assert 2.8 < decibels.max() <= 3


def test_polarity_is_the_negative():
    assert np.array_equal(Polarity()(hiss(), RATE_HZ, rng()), -hiss())


def test_band_limit_passes_below_its_edge_and_stops_above():
    filtered = BandLimit(3000, 3000)(hiss(), RATE_HZ, rng())
    assert abs(level_db(filtered, 100, 2800) - level_db(hiss(), 100, 2800)) < 0.2
    assert level_db(filtered, 3200, 8000) < level_db(hiss(), 3200, 8000) - 50


def test_band_limit_cuts_below_its_high_pass_edge():
    filtered = BandLimit(7000, 7000, 300, 300, high_pass_probability=1)(hiss(), RATE_HZ, rng())
    assert level_db(filtered, 0, 120) < level_db(hiss(), 0, 120) - 30
    assert abs(level_db(filtered, 600, 6000) - level_db(hiss(), 600, 6000)) < 0.2


def test_band_limit_does_not_move_a_click():
    click = np.zeros(4001, np.float32)
    click[2000] = 1
    assert int(np.argmax(BandLimit(2000, 4000)(click, RATE_HZ, rng()))) == 2000


@pytest.mark.parametrize("snr_db", [-5, 10, 30])
@pytest.mark.parametrize("colour", ["white", "pink", "brown"])
def test_noise_has_the_ratio_that_was_asked(colour, snr_db):
    source = hiss()
    noise = Noise([colour], snr_db, snr_db)(source, RATE_HZ, rng(4)).astype(np.float64) - source
    assert 10 * np.log10(np.mean(source.astype(np.float64) ** 2) / np.mean(noise**2)) == pytest.approx(
        snr_db, abs=0.05
    )


@pytest.mark.parametrize(("colour", "slope_db"), [("white", 0), ("pink", -3.01), ("brown", -6.02)])
def test_noise_falls_per_octave_as_its_colour_says(colour, slope_db):
    noise = coloured_noise(colour, 20 * RATE_HZ, RATE_HZ, rng(2))
    levels = [level_db(noise, low, 2 * low) for low in (200, 400, 800, 1600, 3200)]
    assert np.diff(levels).mean() == pytest.approx(slope_db, abs=0.4)


def test_noise_leaves_silence_silent():
    assert not add_at_snr(np.zeros(100, np.float32), hiss(100), 10).any()


@pytest.mark.parametrize("codec", sorted(FORMATS))
def test_every_codec_keeps_length_alignment_and_level(codec, speech):
    for bit_rate_bps in (FORMATS[codec].bit_rates_bps[0], FORMATS[codec].bit_rates_bps[-1]):
        result = round_trip(speech, RATE_HZ, codec, bit_rate_bps)
        assert len(result.waveform) == len(speech)
        assert abs(estimate_delay(result.waveform, speech)) <= 8, bit_rate_bps  # half a millisecond
        assert 0.75 < result.waveform.std() / speech.std() < 1.15
        assert not np.array_equal(result.waveform, speech)


@pytest.mark.parametrize("codec", ["mp3", "aac", "opus", "amr-nb", "g726"])
def test_a_codec_spends_about_the_bits_it_is_given(codec, speech):
    long = np.tile(speech, 3)
    for bit_rate_bps in FORMATS[codec].bit_rates_bps[1:3]:
        spent = round_trip(long, RATE_HZ, codec, bit_rate_bps).bit_rate_bps
        assert spent == pytest.approx(bit_rate_bps, rel=0.2)


def test_telephone_codecs_leave_nothing_above_their_band():
    for codec in ("amr-nb", "g726", "gsm", "mu-law", "a-law"):
        result = round_trip(hiss(), RATE_HZ, codec, FORMATS[codec].bit_rates_bps[-1]).waveform
        assert level_db(result, 4300, 8000) < level_db(result, 500, 3000) - 40, codec


def test_a_codec_runs_at_the_highest_rate_that_it_and_the_waveform_have():
    assert codec_rate_hz("opus", 22050) == 16000
    assert codec_rate_hz("mp3", 44100) == 44100
    assert codec_rate_hz("gsm", 48000) == 8000
    assert codec_rate_hz("g722", 8000) == 16000


def test_a_peak_above_full_scale_is_not_clipped_by_a_codec(speech):
    loud = speech * np.float32(3 / np.abs(speech).max())
    assert np.abs(round_trip(loud, RATE_HZ, "mu-law", 64000).waveform).max() > 2


def test_a_codec_draws_every_name_and_rate_it_was_given(speech):
    codec = Codec(["mu-law", "a-law", "g726"], {"g726": [16000, 40000]})
    results = {codec(speech[:4000], RATE_HZ, rng(k)).tobytes() for k in range(40)}
    assert len(results) == 4


def test_an_unknown_codec_is_answered_with_the_nearest_name(speech):
    with pytest.raises(ConfigurationError, match="did you mean 'opus'"):
        Codec(["opsu"])
    with pytest.raises(AugmentationError, match="unknown codec 'mp7'"):
        round_trip(speech, RATE_HZ, "mp7", 16000)


def test_this_installation_has_every_codec():
    assert [codec for codec in FORMATS if not is_available(codec)] == []


def test_a_chain_applies_its_steps_in_order():
    chain = build_chain([{"name": "gain", "min_gain_db": 20, "max_gain_db": 20}, {"name": "polarity"}])
    assert np.allclose(chain(hiss(), RATE_HZ, rng()), -10 * hiss(), rtol=1e-5)


def test_a_chain_applies_a_step_as_often_as_its_probability_says():
    chain = build_chain([{"name": "polarity", "probability": 0.3}])
    flipped = [chain(hiss(8), RATE_HZ, rng(k))[0] != hiss(8)[0] for k in range(2000)]
    assert np.mean(flipped) == pytest.approx(0.3, abs=0.04)  # 4 standard deviations


def test_a_chain_that_chooses_nothing_gives_a_copy():
    source = hiss()
    result = build_chain([{"name": "polarity", "probability": 0}])(source, RATE_HZ, rng())
    assert np.array_equal(result, source)
    assert not np.shares_memory(result, source)


def test_a_curriculum_holds_each_probability_from_its_epoch_on():
    chain = build_chain([{"name": "polarity", "probability": {2: 0.5, 5: 1.0}}, {"name": "gain"}])
    assert [chain.at_epoch(epoch).probabilities for epoch in (0, 1, 2, 4, 5, 90)] == [
        [0, 1],
        [0, 1],
        [0.5, 1],
        [0.5, 1],
        [1, 1],
        [1, 1],
    ]


def test_a_chain_is_plain_data_and_back():
    plain = [
        {"name": "gain", "probability": 0.5, "min_gain_db": -6.0},
        {"name": "polarity", "probability": {0: 0.1, 3: 0.2}},
    ]
    assert build_chain(plain).to_list() == plain
    assert build_chain(build_chain(plain).to_list()).to_list() == plain


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "gian"}, "did you mean 'gain'"),
        ({"name": "gain", "min_gain": 3}, "did you mean 'min_gain_db'"),
        ({"name": "gain", "probability": 2}, "probability must be in"),
        ({"name": "gain", "probability": {"later": 1}}, "count from 0"),
        ({"name": "gain", "min_gain_db": 3, "max_gain_db": 1}, "must not be above"),
        ({"name": "noise", "colours": ["pnik"]}, "did you mean 'pink'"),
        ({"name": "codec", "bit_rates_bps": {"mp3": []}}, "'mp3' is empty"),
    ],
)
def test_a_wrong_chain_is_refused_before_the_first_file(entry, message):
    with pytest.raises(ConfigurationError, match=message):
        build_chain([entry])


def test_a_chain_takes_specs_directly():
    chain = Chain([(Spec("gain", {"min_gain_db": 0, "max_gain_db": 0}), 1.0)])
    assert np.array_equal(chain(hiss(), RATE_HZ, rng()), hiss())


def test_a_failing_step_is_named_by_the_chain():
    source = hiss()
    source[3] = np.inf
    with pytest.raises(AugmentationError, match="augmentation 'band_limit'"):
        build_chain([{"name": "band_limit"}])(source, RATE_HZ, rng())


def test_so_few_samples_that_a_codec_has_none_are_an_error_that_says_so():
    with pytest.raises(AugmentationError, match="1 samples at 48000 Hz are none at the 8000 Hz of 'a-law'"):
        Codec(["a-law"])(hiss(1), 48000, rng())
