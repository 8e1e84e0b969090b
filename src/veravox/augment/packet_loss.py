"""Lost packets of an internet call, in bursts, with simple concealment."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from veravox.augment import AUGMENTATIONS, Augmentation
from veravox.augment.ranges import check_choices, check_range, check_within

CONCEALMENTS = ("silence", "repeat", "fade")
FADE_PER_PACKET = 0.5


def lost_packets(count: int, loss: float, mean_burst: float, rng: np.random.Generator) -> np.ndarray:
    """Which of `count` packets are lost: a two-state chain with that mean share and burst length.

    A share that bursts of this length cannot reach, with one packet kept between two, has longer ones.
    """
    mean_burst = max(mean_burst, loss / max(1 - loss, 1e-9))
    stay_lost = 1 - 1 / mean_burst
    become_lost = min(1.0, loss * (1 - stay_lost) / max(1 - loss, 1e-9))
    draws = rng.random(count)
    lost = np.zeros(count, bool)
    state = bool(draws[0] < loss) if count else False
    for index, draw in enumerate(draws):
        if index:
            state = bool(draw < (stay_lost if state else become_lost))
        lost[index] = state
    return lost


@AUGMENTATIONS.register("packet_loss")
class PacketLoss(Augmentation):
    """Drop packets at a random rate; a dropped one is silent, repeats the last good one, or fades it out.

    Args:
        min_loss: share of packets lost; with `max_loss`.
        mean_burst: mean number of packets lost in a row.
        packet_s: length of a packet.
        concealments: what stands in their place, drawn per waveform: silence, repeat, fade.
    """

    def __init__(
        self,
        min_loss: float = 0.02,
        max_loss: float = 0.2,
        mean_burst: float = 1.5,
        packet_s: float = 0.02,
        concealments: Sequence[str] = CONCEALMENTS,
    ) -> None:
        check_within("packet_loss", 0, 1, min_loss=min_loss, max_loss=max_loss)
        check_range("packet_loss", "min_loss", min_loss, "max_loss", max_loss)
        check_within("packet_loss", 1, 1000, mean_burst=mean_burst)
        check_within("packet_loss", 0.001, 1, packet_s=packet_s)
        check_choices("packet_loss", "concealments", concealments, CONCEALMENTS)
        self.loss = (min_loss, max_loss)
        self.mean_burst = mean_burst
        self.packet_s = packet_s
        self.concealments = tuple(concealments)

    def apply(self, waveform: np.ndarray, sample_rate_hz: int, rng: np.random.Generator) -> np.ndarray:
        """The waveform with its lost packets concealed."""
        size = max(1, round(self.packet_s * sample_rate_hz))
        concealment = self.concealments[rng.integers(len(self.concealments))]
        lost = lost_packets(-(-len(waveform) // size), rng.uniform(*self.loss), self.mean_burst, rng)
        packets = np.pad(waveform, (0, len(lost) * size - len(waveform))).reshape(-1, size).copy()
        gain = np.float32(0)
        for index in np.flatnonzero(lost):
            if concealment == "silence" or index == 0:
                packets[index] = 0
                continue
            gain = np.float32(1 if concealment == "repeat" else FADE_PER_PACKET)
            packets[index] = packets[index - 1] * gain
        return packets.reshape(-1)[: len(waveform)]
