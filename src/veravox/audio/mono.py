"""Many channels to one, by one rule for the whole file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

DECISION_S = 10.0
# Channels that have nothing to do with each other keep 1/C of their energy in the mean; a tenth of that is
# not chance but opposite phase.
CANCELLED = 0.1


def to_mono(block: np.ndarray) -> np.ndarray:
    """Mix by the rule of `MonoMixer`, deciding on the whole block: float32, (samples, channels) to (samples,)."""
    block = np.asarray(block, dtype=np.float32)
    if block.ndim == 1:
        return block
    return _mix(block, _chosen_channel(block))


def _chosen_channel(block: np.ndarray) -> int | None:
    """The loudest channel if the mean of all cancels; None if the mean serves."""
    energies = np.array([np.vdot(own, own) for own in map(np.ascontiguousarray, block.T)], np.float64)  # (C,)
    mixed = _mix(block, None)
    if np.vdot(mixed, mixed) < CANCELLED * energies.mean() / block.shape[1]:
        return int(np.argmax(energies))
    return None


def _mix(block: np.ndarray, channel: int | None) -> np.ndarray:
    if block.shape[1] == 1 or channel is not None:
        return np.ascontiguousarray(block[:, channel or 0])
    total = block[:, 0] + block[:, 1]  # column by column: several times faster than a mean over a short axis
    for other in range(2, block.shape[1]):
        total += block[:, other]
    total *= np.float32(1.0 / block.shape[1])
    return total


class MonoMixer:
    """The mean of all channels; or, if they cancel each other, the loudest channel alone.

    The choice is made once, on the first ten seconds that hold any sound, and stands for the whole file: it
    depends neither on the block size nor on anything later. A silent channel is part of the mean, at the price
    of level (6 dB for one of two) and not of content: a speaker who is heard on one channel only, and only
    late, must not be lost. Channels cancel if their mean keeps less than a tenth of the energy that unrelated
    channels would keep.

    Args:
        channels: number of channels.
        sample_rate_hz: rate of the blocks.
        channel: take this one alone, counted from 0.
    """

    def __init__(self, channels: int, sample_rate_hz: int, channel: int | None = None) -> None:
        self._decided = channels == 1 or channel is not None
        self._channel = channel
        self._wanted = max(1, round(DECISION_S * sample_rate_hz))
        self._pending: list[np.ndarray] = []
        self._count = 0

    @property
    def is_decided(self) -> bool:
        """Whether the choice stands, so that nothing is kept back any more."""
        return self._decided

    def push(self, block: np.ndarray) -> Iterator[np.ndarray]:
        """Mix a block (samples, channels), or keep it until the choice can be made."""
        if self._decided:
            yield _mix(block, self._channel)
            return
        if not self._pending:
            sounding = block.any(axis=1)
            start = int(np.argmax(sounding)) if sounding.any() else len(block)
            if start:
                yield np.zeros(start, np.float32)
                block = block[start:]
        if len(block):
            self._pending.append(block)
            self._count += len(block)
        if self._count >= self._wanted:
            yield from self.flush()

    def flush(self) -> Iterator[np.ndarray]:
        """Choose on what is there, and give out what was kept."""
        self._decided = True
        if self._pending:
            kept, self._pending = np.concatenate(self._pending), []
            self._channel = _chosen_channel(kept[: self._wanted])
            yield _mix(kept, self._channel)
