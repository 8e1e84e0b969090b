"""Time, pitch, dynamics, losses, devices, rooms and recorded noise against what they promise."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import scipy.signal
import soundfile

from veravox.audio.codec_backends import estimate_delay
from veravox.audio.reverberation import convolve, reverberation_time_s
from veravox.audio.stretching import stretch
from veravox.augment import (
    Babble,
    Clipping,
    Device,
    Dynamics,
    ImpulseResponse,
    NoiseFolder,
    PacketLoss,
    Pitch,
    Resampling,
    Room,
    Speed,
    TimeStretch,
)
from veravox.augment.packet_loss import lost_packets
from veravox.augment.pitch import shift_pitch
from veravox.augment.recordings import find_recordings, read_piece
from veravox.errors import AugmentationError, ConfigurationError

RATE_HZ = 16000


def rng(seed=0):
    return np.random.default_rng(seed)


def tone(frequency_hz=440.0, seconds=1.0, sample_rate_hz=RATE_HZ):
    time_s = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    return (0.3 * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def hiss(samples=RATE_HZ):
    return (0.1 * rng(1).standard_normal(samples)).astype(np.float32)


def frequency_of(waveform, sample_rate_hz=RATE_HZ):
    size = 1 << 17
    return np.argmax(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform)), size))) * sample_rate_hz / size


@pytest.fixture(scope="module")
def speech(samples):
    return soundfile.read(samples / "dev/bonafide/asterisk-core-fr/u687f7975d7.flac", dtype="float32")[0]


def test_speed_moves_pitch_and_length_together():
    faster = Speed(1.25, 1.25)(tone(), RATE_HZ, rng())
    assert len(faster) == 12800
    assert frequency_of(faster) == pytest.approx(550, abs=0.5)


@pytest.mark.parametrize("tempo", [0.7, 0.95, 1.3])
def test_time_stretch_changes_the_length_and_keeps_pitch_and_level(tempo):
    stretched = TimeStretch(tempo, tempo)(tone(), RATE_HZ, rng())
    assert len(stretched) == round(RATE_HZ / tempo)
    assert frequency_of(stretched) == pytest.approx(440, abs=0.5)
    assert stretched[2000:-2000].std() == pytest.approx(tone().std(), rel=0.01)


def test_stretched_speech_keeps_its_course_in_time(speech):
    def loudness(waveform):
        smooth = np.convolve(waveform**2, np.ones(800) / 800, "same")
        return smooth - smooth.mean()

    stretched = stretch(speech, RATE_HZ, 1.25)
    expected = np.interp(np.arange(len(stretched)) / 1.25, np.arange(len(speech)), loudness(speech))
    assert abs(estimate_delay(loudness(stretched), expected)) < 80  # 5 ms
    assert np.corrcoef(loudness(stretched), expected)[0, 1] > 0.98


def test_stretching_by_one_changes_nothing(speech):
    assert np.allclose(stretch(speech, RATE_HZ, 1.0), speech, atol=1e-5)


@pytest.mark.parametrize("semitones", [-4, 1, 5])
def test_pitch_moves_a_tone_by_its_semitones_and_keeps_the_length(semitones):
    shifted = shift_pitch(tone(), RATE_HZ, semitones)
    assert len(shifted) == RATE_HZ
    assert frequency_of(shifted) == pytest.approx(440 * 2 ** (semitones / 12), abs=1)
    assert len(Pitch()(tone(seconds=0.731), RATE_HZ, rng())) == len(tone(seconds=0.731))


def test_clipping_puts_the_ceiling_where_it_was_asked():
    hard = Clipping(6, 6, soft_probability=0)(tone(), RATE_HZ, rng())
    assert np.abs(hard).max() == pytest.approx(0.3 * 10 ** (-6 / 20), rel=1e-4)
    assert (np.abs(hard) == np.abs(hard).max()).mean() > 0.3
    soft = Clipping(6, 6, soft_probability=1)(tone(), RATE_HZ, rng())
    assert np.abs(soft).max() < np.abs(hard).max()
    assert (np.abs(soft) == np.abs(soft).max()).mean() < 0.1


def test_dynamics_bring_loud_and_quiet_together_at_equal_power():
    source = np.concatenate([tone() * 1.0, tone() * 0.1])
    result = Dynamics(-20, -20, 4, 4, 0.01, 0.01)(source, RATE_HZ, rng())
    range_db = 20 * np.log10(result[4000:12000].std() / result[20000:28000].std())
    assert 4 < range_db < 9  # 20 dB at a ratio of 4, less what lies under the threshold
    assert result.std() == pytest.approx(source.std(), rel=1e-3)


@pytest.mark.parametrize(("loss", "burst"), [(0.05, 1.0), (0.2, 2.0), (0.1, 4.0)])
def test_packets_are_lost_at_the_rate_and_in_the_bursts_asked(loss, burst):
    lost = lost_packets(200_000, loss, burst, rng(3))
    bursts = np.sum(np.diff(lost.astype(int)) == 1)
    assert lost.mean() == pytest.approx(loss, rel=0.1)
    assert lost.sum() / bursts == pytest.approx(burst, rel=0.05)


@pytest.mark.parametrize("loss", [0.75, 0.9, 1.0])
def test_a_loss_that_short_bursts_cannot_reach_has_longer_ones(loss):
    assert lost_packets(100_000, loss, 1.5, rng(3)).mean() == pytest.approx(loss, rel=0.02)


def test_lost_packets_are_silent_or_repeat_the_last():
    source = hiss(3200)
    silent = PacketLoss(0.5, 0.5, concealments=["silence"])(source, RATE_HZ, rng(1)).reshape(-1, 320)
    gone = ~silent.any(axis=1)
    assert gone.any()
    assert np.array_equal(silent[~gone], source.reshape(-1, 320)[~gone])
    repeated = PacketLoss(0.5, 0.5, concealments=["repeat"])(source, RATE_HZ, rng(1)).reshape(-1, 320)
    for index in np.flatnonzero(gone)[np.flatnonzero(gone) > 0]:
        assert np.array_equal(repeated[index], repeated[index - 1])


def test_resampling_leaves_the_lowest_band_and_no_delay():
    result = Resampling([8000], 1, ["HQ"])(hiss(), RATE_HZ, rng())
    frequencies, power = scipy.signal.welch(result, RATE_HZ, nperseg=512)
    assert power[frequencies > 4300].max() < 1e-5 * power[frequencies < 3000].mean()
    assert estimate_delay(result, hiss()) == 0


def test_a_telephone_passes_its_band_without_delay_at_equal_power():
    result = Device(["telephone"], max_resonances=0)(hiss(), RATE_HZ, rng())
    frequencies, power = scipy.signal.welch(result, RATE_HZ, nperseg=512)
    inside = power[(frequencies > 700) & (frequencies < 2500)].mean()
    assert power[frequencies > 6500].max() < 0.02 * inside
    assert power[frequencies < 100].max() < 0.02 * inside
    assert estimate_delay(result, hiss()) == 0
    assert result.std() == pytest.approx(hiss().std(), rel=1e-3)


@pytest.mark.parametrize("rt60_s", [0.2, 0.4, 0.8])
def test_a_simulated_room_rings_as_long_as_it_was_asked(rt60_s):
    measured = [reverberation_time_s(Room(rt60_s, rt60_s).response(RATE_HZ, rng(k))[0], RATE_HZ) for k in range(4)]
    assert np.mean(measured) == pytest.approx(rt60_s, rel=0.1)


def test_pyroomacoustics_rings_as_long_as_it_was_asked():
    if importlib.util.find_spec("pyroomacoustics") is None:
        with pytest.raises(Exception, match=r"veravox\[rooms\]"):
            Room(simulator="pyroomacoustics")
        return
    room = Room(0.4, 0.4, min_side_m=4, max_side_m=5, simulator="pyroomacoustics")
    measured = reverberation_time_s(room.response(RATE_HZ, rng(2))[0], RATE_HZ)
    assert measured == pytest.approx(0.4, rel=0.35)


def test_a_room_does_not_delay_the_direct_sound(speech):
    for seed in range(3):
        result = Room(0.3, 0.3, max_distance_m=1)(speech, RATE_HZ, rng(seed))
        assert abs(estimate_delay(result, speech)) <= 2
        assert result.std() == pytest.approx(speech.std(), rel=1e-3)


def test_convolving_with_a_late_click_gives_the_waveform_back():
    click = np.zeros(300, np.float32)
    click[120] = -2
    assert np.allclose(convolve(hiss(), click), -hiss(), atol=1e-5)


def test_the_measured_reverberation_time_of_an_exponential_decay_is_its_own():
    time_s = np.arange(RATE_HZ) / RATE_HZ
    response = rng().standard_normal(RATE_HZ) * 10 ** (-3 * time_s / 0.5)
    assert reverberation_time_s(response, RATE_HZ) == pytest.approx(0.5, rel=0.03)


def test_a_folder_of_responses_is_used_as_recorded(tmp_path):
    response = np.zeros(4000, np.float32)
    response[[10, 1990]] = 0.8, 0.4
    soundfile.write(tmp_path / "room.wav", response, RATE_HZ, subtype="FLOAT")
    result = ImpulseResponse(str(tmp_path))(hiss(), RATE_HZ, rng())
    expected = hiss().copy()
    expected[1980:] += 0.5 * hiss()[:-1980]
    assert np.allclose(result / result.std(), expected / expected.std(), atol=1e-4)


def test_recorded_noise_has_the_ratio_asked_and_is_repeated_where_short(tmp_path):
    (tmp_path / "deep").mkdir()
    soundfile.write(tmp_path / "deep" / "short.wav", tone(1000, 0.2), RATE_HZ, subtype="FLOAT")
    added = NoiseFolder(str(tmp_path), 10, 10)(hiss(), RATE_HZ, rng()) - hiss()
    assert 20 * np.log10(hiss().std() / added.std()) == pytest.approx(10, abs=0.1)
    assert frequency_of(added) == pytest.approx(1000, abs=2)


def test_a_long_recording_is_entered_at_random_points(tmp_path):
    ramp = np.linspace(0.1, 0.9, 50 * 8000, dtype=np.float32)
    soundfile.write(tmp_path / "ramp.wav", ramp, 8000, subtype="FLOAT")
    levels = [read_piece(tmp_path / "ramp.wav", 800, 8000, rng(k))[0] for k in range(20)]
    assert max(levels) - min(levels) > 0.4


def test_babble_is_made_of_bona_fide_trials_at_the_ratio_asked(samples, speech):
    added = Babble(str(samples / "protocol.csv"), min_snr_db=5, max_snr_db=5)(speech, RATE_HZ, rng()) - speech
    assert 10 * np.log10(np.mean(speech**2) / np.mean(added**2)) == pytest.approx(5, abs=0.1)


def test_an_empty_folder_or_a_broken_recording_is_named(tmp_path, speech):
    with pytest.raises(ConfigurationError, match="holds no recordings"):
        NoiseFolder(str(tmp_path))
    (tmp_path / "bad.wav").write_bytes(b"not audio")
    find_recordings.cache_clear()
    with pytest.raises(AugmentationError, match=r"augmentation 'noise_folder' failed: .*bad\.wav"):
        NoiseFolder(str(tmp_path))(speech, RATE_HZ, rng())
