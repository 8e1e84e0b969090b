"""The challenge's task 2: what happens to a voice between its making and its hearing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import soxr

from veravox.audio.codec_backends import FORMATS, round_trip
from veravox.audio.stretching import stretch
from veravox.augment.band_limit import BandLimit
from veravox.augment.noise import SLOPES, add_at_snr, coloured_noise
from veravox.augment.packet_loss import PacketLoss
from veravox.augment.pitch import shift_pitch
from veravox.degradation.operations import Degraded, Operation, drawn

PHONE_CODECS = ("amr-nb", "gsm", "g726", "mu-law", "a-law")
LOW_RATES_HZ, HIGH_RATES_HZ = (8000, 11025, 12000), (22050, 24000, 32000, 44100, 48000)


class Coded:
    """Through one codec after another, each at a fixed bit rate.

    Args:
        steps: pairs of a codec's name and its bit rate.
    """

    def __init__(self, *steps: tuple[str, int]) -> None:
        self.steps = steps

    def __call__(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
        """The waveform after the codecs."""
        spent = []
        for codec, bit_rate_bps in self.steps:
            made = round_trip(waveform, sample_rate_hz, codec, bit_rate_bps)
            waveform = made.waveform
            spent.append({"codec": codec, "asked_bps": bit_rate_bps, "spent_bps": round(made.bit_rate_bps)})
        return Degraded(waveform, sample_rate_hz, {"codecs": spent})


def variable_mp3(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """MP3 at a random variable bit rate."""
    quality = int(rng.integers(0, 10))
    made = round_trip(waveform, sample_rate_hz, "mp3", 0, vbr_quality=quality)
    parameters = {"codec": "mp3", "vbr_quality": quality, "spent_bps": round(made.bit_rate_bps)}
    return Degraded(made.waveform, sample_rate_hz, parameters)


def noisy(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """White, pink or brown noise at 5 to 25 dB."""
    colour = str(rng.choice(list(SLOPES)))
    snr_db = drawn(rng, 5, 25)
    noise = coloured_noise(colour, len(waveform), sample_rate_hz, rng)
    return Degraded(add_at_snr(waveform, noise, snr_db), sample_rate_hz, {"colour": colour, "snr_db": snr_db})


def speech_filtered(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """Only the band that carries speech: from 200 to 350 Hz up to 3 to 4 kHz."""
    low_hz, high_hz = drawn(rng, 200, 350, 0), drawn(rng, 3000, 4000, 0)
    band = BandLimit(high_hz, high_hz, low_hz, low_hz, high_pass_probability=1, transition_hz=200)
    result = band(waveform, sample_rate_hz, rng)
    return Degraded(result, sample_rate_hz, {"low_hz": low_hz, "high_hz": high_hz})


def phoned(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """A telephone's band, one of its codecs, and sometimes lost packets."""
    low_hz, high_hz = drawn(rng, 250, 350, 0), drawn(rng, 3200, 3500, 0)
    codec = str(rng.choice(PHONE_CODECS))
    bit_rate_bps = int(rng.choice(FORMATS[codec].bit_rates_bps))
    loss = drawn(rng, 0, 0.05, 3) if rng.random() < 0.5 else 0.0
    band = BandLimit(high_hz, high_hz, low_hz, low_hz, high_pass_probability=1, transition_hz=200)
    result = band(waveform, sample_rate_hz, rng)
    if loss:
        result = PacketLoss(loss, loss, concealments=["fade"])(result, sample_rate_hz, rng)
    made = round_trip(result, sample_rate_hz, codec, bit_rate_bps)
    parameters = {
        "low_hz": low_hz,
        "high_hz": high_hz,
        "codec": codec,
        "spent_bps": round(made.bit_rate_bps),
        "packet_loss": loss,
    }
    return Degraded(made.waveform, sample_rate_hz, parameters)


def pitch_shifted(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """One to four semitones up or down."""
    semitones = drawn(rng, 1, 4) * (1 if rng.random() < 0.5 else -1)
    return Degraded(shift_pitch(waveform, sample_rate_hz, semitones), sample_rate_hz, {"semitones": semitones})


def time_stretched(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """A tempo 10 to 25 per cent slower or faster."""
    slower = rng.random() < 0.5
    tempo = drawn(rng, 0.75, 0.9, 3) if slower else drawn(rng, 1.1, 1.25, 3)
    return Degraded(stretch(waveform, sample_rate_hz, 1 / tempo), sample_rate_hz, {"tempo": tempo})


def _at_rate(waveform: np.ndarray, sample_rate_hz: int, rate_hz: int) -> Degraded:
    result = soxr.resample(waveform, sample_rate_hz, rate_hz)
    return Degraded(result, rate_hz, {"from_hz": sample_rate_hz, "rate_hz": rate_hz})


def resampled_down(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """Stored at a lower sampling rate."""
    lower = [rate for rate in LOW_RATES_HZ if rate < sample_rate_hz] or [sample_rate_hz // 2]
    return _at_rate(waveform, sample_rate_hz, int(rng.choice(lower)))


def resampled_up(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """Stored at a higher sampling rate; nothing is added above the old band."""
    higher = [rate for rate in HIGH_RATES_HZ if rate > sample_rate_hz] or [2 * sample_rate_hz]
    return _at_rate(waveform, sample_rate_hz, int(rng.choice(higher)))


def _band(parameters: Mapping[str, Any]) -> dict[str, float]:
    return {"bandwidth_hz": parameters["high_hz"]}


def _half_rate(parameters: Mapping[str, Any]) -> dict[str, float]:
    return {"bandwidth_hz": min(parameters["rate_hz"], parameters["from_hz"]) / 2}


def post_processings() -> list[Operation]:
    """The operations of task 2 that need no neural codec, in the challenge's order around them."""
    low = 16000
    return [
        Operation("aac 16k", Coded(("aac", low))),
        Operation("mp3 16k", Coded(("mp3", low))),
        Operation("mp3 VBR", variable_mp3),
        Operation("mp3-aac 16k", Coded(("mp3", low), ("aac", low))),
        Operation("mp3-aac-mp3 16k", Coded(("mp3", low), ("aac", low), ("mp3", low))),
        Operation("opus 16k", Coded(("opus", low))),
        Operation("vorbis 16k", Coded(("vorbis", low))),
        Operation("noise", noisy, intended=lambda parameters: {"snr_db": parameters["snr_db"]}),
        Operation("phone audio", phoned, intended=_band),
        Operation("pitch shift", pitch_shifted),
        Operation(
            "time stretch",
            time_stretched,
            keeps_time=False,
            intended=lambda parameters: {"duration_ratio": 1 / parameters["tempo"]},
        ),
        Operation("resample down", resampled_down, intended=_half_rate),
        Operation("resample up", resampled_up, intended=_half_rate),
        Operation("speech filter", speech_filtered, intended=_band),
    ]
