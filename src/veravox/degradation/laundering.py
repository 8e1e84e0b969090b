"""The challenge's task 3: played by a loudspeaker, heard in a room, driven about in a car."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from veravox.audio.filtering import filter_by_gain
from veravox.audio.power import at_power_of
from veravox.audio.reverberation import convolve, reverberation_time_s
from veravox.augment.device import Device
from veravox.augment.noise import add_at_snr, coloured_noise
from veravox.augment.room import Room
from veravox.degradation.operations import Degraded, Operation, drawn

FIRINGS_PER_TURN = 2
"""Of a four-cylinder four-stroke engine."""
CABIN = Room(
    min_rt60_s=0.05,
    max_rt60_s=0.12,
    min_side_m=2.0,
    max_side_m=2.6,
    min_height_m=2.0,
    max_height_m=2.1,
    min_distance_m=0.3,
    max_distance_m=1.0,
)


def played(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """Through a loudspeaker that distorts a little, a room, and a microphone that hisses."""
    drive_db, snr_db = drawn(rng, -6, 6), drawn(rng, 20, 40)
    peak = float(np.abs(waveform).max())
    loud = waveform
    if peak > 0:
        ceiling = np.float32(peak * 10 ** (-drive_db / 20))
        loud = at_power_of(ceiling * np.tanh(waveform / ceiling), waveform)
    loud = Device(["small loudspeaker", "laptop"])(loud, sample_rate_hz, rng)
    room = Room(min_rt60_s=0.15, max_rt60_s=0.45, max_side_m=6, max_distance_m=1.5)
    response, parameters = room.response(sample_rate_hz, rng)
    heard = Device(["smartphone", "headset"])(convolve(loud, response), sample_rate_hz, rng)
    hiss = coloured_noise("pink", len(waveform), sample_rate_hz, rng)
    parameters |= {"drive_db": drive_db, "snr_db": snr_db}
    return Degraded(add_at_snr(heard, hiss, snr_db), sample_rate_hz, parameters)


def reverberant(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """A larger room."""
    response, parameters = Room(min_rt60_s=0.3, max_rt60_s=1.2).response(sample_rate_hz, rng)
    parameters["measured_rt60_s"] = round(reverberation_time_s(response, sample_rate_hz), 3)
    return Degraded(convolve(waveform, response), sample_rate_hz, parameters)


def driven(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """A car's cabin, with the engine and the road at a random SNR."""
    response, cabin = CABIN.response(sample_rate_hz, rng)
    boom_hz, boom_db = drawn(rng, 60, 150, 0), drawn(rng, 3, 9)
    wet = filter_by_gain(
        convolve(waveform, response),
        sample_rate_hz,
        lambda hz: 10 ** (boom_db / 20 * np.exp(-(((hz - boom_hz) / (0.4 * boom_hz)) ** 2))),
    )
    wet = at_power_of(wet, waveform)
    turns_per_min, speed_km_h, snr_db = drawn(rng, 1200, 3500, 0), drawn(rng, 20, 130, 0), drawn(rng, 0, 15)
    share = drawn(rng, 0.2, 0.8)
    noise = share * engine_noise(len(waveform), sample_rate_hz, turns_per_min, rng)
    noise = noise + (1 - share) * road_noise(len(waveform), sample_rate_hz, speed_km_h, rng)
    parameters: dict[str, Any] = {
        "rt60_s": cabin["rt60_s"],
        "boom_hz": boom_hz,
        "boom_db": boom_db,
        "turns_per_min": turns_per_min,
        "speed_km_h": speed_km_h,
        "engine_share": share,
        "snr_db": snr_db,
    }
    return Degraded(add_at_snr(wet, noise.astype(np.float32), snr_db), sample_rate_hz, parameters)


def engine_noise(samples: int, sample_rate_hz: int, turns_per_min: float, rng: np.random.Generator) -> np.ndarray:
    """Harmonics of half a turn, strongest at the firing rate, with a wandering speed; unit power."""
    turn_hz = turns_per_min / 60
    wander = np.cumsum(rng.standard_normal(samples // 512 + 2)) * 0.003
    wander = np.interp(np.arange(samples) / 512, np.arange(len(wander)), wander)
    phase = 2 * np.pi * np.cumsum(turn_hz * (1 + np.clip(wander, -0.1, 0.1))) / sample_rate_hz
    total = np.zeros(samples)
    for half in range(1, 25):
        order = half / 2
        if order * turn_hz * 1.1 < sample_rate_hz / 2:
            strength = (2.0 if order % FIRINGS_PER_TURN == 0 else 0.4) / order * rng.uniform(0.5, 1)
            total += strength * np.sin(order * phase + rng.uniform(0, 2 * np.pi))
    return total / max(1e-9, float(total.std()))


def road_noise(samples: int, sample_rate_hz: int, speed_km_h: float, rng: np.random.Generator) -> np.ndarray:
    """Noise with a hump of the tyres that rises with the speed and a steep fall above; unit power."""
    noise = coloured_noise("white", samples, sample_rate_hz, rng)
    corner_hz = 150 + 4 * speed_km_h

    def gain_of(frequencies_hz: np.ndarray) -> np.ndarray:
        ratio = np.maximum(frequencies_hz, 20) / corner_hz
        return 1 / (1 + ratio**2) / np.sqrt(ratio)

    shaped = filter_by_gain(noise, sample_rate_hz, gain_of)
    return shaped / max(1e-9, float(shaped.std()))


def all_three(waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> Degraded:
    """Played, then a room, then a car."""
    parameters: dict[str, Any] = {}
    for name, step in (("played", played), ("reverb", reverberant), ("car", driven)):
        made = step(waveform, sample_rate_hz, rng)
        waveform, parameters[name] = made.waveform, made.parameters
    return Degraded(waveform, sample_rate_hz, parameters)


def launderings() -> list[Operation]:
    """The operations of task 3, in the challenge's order."""

    def room(parameters: Mapping[str, Any]) -> dict[str, float]:
        return {"rt60_s": parameters["rt60_s"]}

    def noisy_room(parameters: Mapping[str, Any]) -> dict[str, float]:
        return {"rt60_s": parameters["rt60_s"], "added_snr_db": parameters["snr_db"]}

    def noise_of_the_car(parameters: Mapping[str, Any]) -> dict[str, float]:
        # What is measured is lower: the hiss counts as noise too, and the cabin's boom lifts it.
        return {"added_snr_db": parameters["car"]["snr_db"]}

    return [
        Operation("played", played, intended=noisy_room),
        Operation("reverb", reverberant, intended=room),
        Operation("car", driven, intended=noisy_room),
        Operation("played + reverb + car", all_three, intended=noise_of_the_car),
    ]
