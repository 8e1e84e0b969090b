"""Simulated rooms."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from veravox.audio.reverberation import convolve, image_response
from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_positive, check_range, check_within
from veravox.errors import require

WALL_M = 0.5
EXTRA = "rooms"


@AUGMENTATIONS.register("room")
class Room(Augmentation):
    """A random shoebox room with a talker and a microphone in it; the direct sound is not delayed.

    The result is scaled to the power of the input.

    Args:
        min_rt60_s: shortest reverberation time; with `max_rt60_s`.
        min_side_m: shortest wall; with `max_side_m`.
        min_height_m: lowest ceiling; with `max_height_m`.
        min_distance_m: nearest microphone; with `max_distance_m`, as far as the room allows.
        simulator: `images` is our own (image sources and a diffuse tail); `pyroomacoustics` needs its package.
    """

    def __init__(
        self,
        min_rt60_s: float = 0.15,
        max_rt60_s: float = 0.8,
        min_side_m: float = 2.5,
        max_side_m: float = 9.0,
        min_height_m: float = 2.3,
        max_height_m: float = 4.0,
        min_distance_m: float = 0.3,
        max_distance_m: float = 3.0,
        simulator: Literal["images", "pyroomacoustics"] = "images",
    ) -> None:
        check_within("room", 0.03, 10, min_rt60_s=min_rt60_s, max_rt60_s=max_rt60_s)
        check_within("room", 2, 100, min_side_m=min_side_m, min_height_m=min_height_m)
        check_within("room", 2, 100, max_side_m=max_side_m, max_height_m=max_height_m)
        check_positive("room", min_distance_m=min_distance_m)
        check_range("room", "min_rt60_s", min_rt60_s, "max_rt60_s", max_rt60_s)
        check_range("room", "min_side_m", min_side_m, "max_side_m", max_side_m)
        check_range("room", "min_height_m", min_height_m, "max_height_m", max_height_m)
        check_range("room", "min_distance_m", min_distance_m, "max_distance_m", max_distance_m)
        if simulator == "pyroomacoustics":
            require("pyroomacoustics", EXTRA)
        self.rt60_s = (min_rt60_s, max_rt60_s)
        self.side_m = (min_side_m, max_side_m)
        self.height_m = (min_height_m, max_height_m)
        self.distance_m = (min_distance_m, max_distance_m)
        self.simulator = simulator

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform as heard in the room."""
        return convolve(waveform, self.response(sample_rate_hz, rng)[0])

    def response(self, sample_rate_hz: int, rng: np.random.Generator) -> tuple[np.ndarray, dict[str, Any]]:
        """A random room's impulse response, and what was drawn."""
        room_m = np.array([*rng.uniform(*self.side_m, 2), rng.uniform(*self.height_m)])
        rt60_s = float(rng.uniform(*self.rt60_s))
        microphone_m = WALL_M + rng.random(3) * (room_m - 2 * WALL_M)
        direction = rng.standard_normal(3)
        away_m = rng.uniform(*self.distance_m) * direction / np.linalg.norm(direction)
        source_m = np.clip(microphone_m + away_m, WALL_M, room_m - WALL_M)
        if np.linalg.norm(source_m - microphone_m) < self.distance_m[0]:
            source_m = np.clip(microphone_m - away_m, WALL_M, room_m - WALL_M)
        simulate = image_response if self.simulator == "images" else _pyroomacoustics_response
        response = simulate(room_m, source_m, microphone_m, rt60_s, sample_rate_hz, rng)
        drawn = {
            "room_m": [round(float(side), 2) for side in room_m],
            "distance_m": round(float(np.linalg.norm(source_m - microphone_m)), 2),
            "rt60_s": round(rt60_s, 3),
        }
        return response, drawn


def _pyroomacoustics_response(
    room_m: np.ndarray,
    source_m: np.ndarray,
    microphone_m: np.ndarray,
    rt60_s: float,
    sample_rate_hz: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The image method of pyroomacoustics; `rng` is not needed, the method is exact."""
    acoustics = require("pyroomacoustics", EXTRA)
    try:
        absorption, order = acoustics.inverse_sabine(rt60_s, room_m)
    except ValueError:  # a time so short that no wall absorbs enough
        absorption, order = 1.0, 0
    shoebox = acoustics.ShoeBox(
        room_m, fs=sample_rate_hz, materials=acoustics.Material(absorption), max_order=min(order, 40)
    )
    shoebox.add_source(source_m)
    shoebox.add_microphone(microphone_m)
    shoebox.compute_rir()
    return np.asarray(shoebox.rir[0][0], dtype=np.float32)
