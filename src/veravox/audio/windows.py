"""An utterance is a list of windows by a stated policy; a short utterance is tiled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from veravox.errors import ConfigurationError, suggest

PolicyName = Literal["first", "middle", "random", "sliding"]


def tile(waveform: np.ndarray, samples: int) -> np.ndarray:
    """Repeat a short waveform from its start until it fills `samples`; a longer one is returned as it is."""
    if len(waveform) >= samples:
        return waveform
    assert len(waveform), "an empty waveform has no windows"
    return np.tile(waveform, -(-samples // len(waveform)))[:samples]


@dataclass(frozen=True)
class WindowPolicy:
    """How an utterance becomes windows of `window_samples`.

    `first`: its first window. `middle`: its middle one. `random`: one drawn by a generator (training).
    `sliding`: one every `hop_samples`; the last is moved back to end with the utterance, so that no sample is
    left out and none is padded; scoring cuts them from the speech alone (`audio.speech`), and the other two from
    the whole recording, as published. An utterance shorter than a window is tiled, under every policy; `draw` does
    so from anywhere in it, or from its `start`.
    """

    name: PolicyName
    window_samples: int
    hop_samples: int
    sample_rate_hz: int = 16000
    tiled_from: Literal["anywhere", "start"] = "anywhere"

    def __post_init__(self) -> None:
        if self.name not in get_args(PolicyName):
            raise ConfigurationError(
                f"unknown window policy {self.name!r}; {suggest(self.name, get_args(PolicyName))}"
            )
        if self.window_samples < 1 or not 1 <= self.hop_samples <= self.window_samples:
            raise ConfigurationError(
                f"a window of {self.window_samples} samples with a hop of {self.hop_samples}: "
                "the hop must be at least 1 and at most the window"
            )

    def __str__(self) -> str:
        window_s, hop_s = self.window_samples / self.sample_rate_hz, self.hop_samples / self.sample_rate_hz
        return f"{self.name} {window_s:g} s" + (f" every {hop_s:g} s" if self.name == "sliding" else "")

    @property
    def of_speech(self) -> bool:
        """Whether scoring leaves silence out before it cuts windows."""
        return self.name == "sliding"

    def starts(self, samples: int) -> list[int]:
        """First sample of each window of an utterance of `samples`; not for `random`."""
        spare = samples - self.window_samples
        if spare <= 0 or self.name == "first":
            return [0]
        if self.name == "middle":
            return [spare // 2]
        starts = list(range(0, spare + 1, self.hop_samples))
        return starts if starts[-1] == spare else [*starts, spare]

    def draw(self, waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One window (window_samples,) for training, random unless the policy is `first`."""
        if self.name == "first":
            return tile(waveform, self.window_samples)[: self.window_samples]
        spare = len(waveform) - self.window_samples
        if spare >= 0:
            start = int(rng.integers(spare + 1))
            return waveform[start : start + self.window_samples]
        if self.tiled_from == "start":
            return tile(waveform, self.window_samples)
        return tile(np.roll(waveform, -int(rng.integers(len(waveform)))), self.window_samples)

    def cut(self, waveform: np.ndarray) -> np.ndarray:
        """All windows of a waveform, shape (windows, window_samples), float32."""
        starts = self.starts(len(waveform))
        tiled = tile(np.ascontiguousarray(waveform, dtype=np.float32), self.window_samples)
        return np.stack([tiled[start : start + self.window_samples] for start in starts])

    def stream(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """The windows of a waveform that arrives in blocks, as (first sample, window), with little in memory.

        Gives exactly what `starts` and `cut` give. `middle` must hold the whole waveform.
        """
        if self.name == "middle":
            whole = np.concatenate([np.asarray(block, dtype=np.float32) for block in blocks])
            yield from zip(self.starts(len(whole)), self.cut(whole), strict=True)
        else:
            yield from self._slide(blocks)

    def _slide(self, blocks: Iterable[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        held = np.zeros(0, dtype=np.float32)
        held_start, next_start, size = 0, 0, self.window_samples
        for block in blocks:
            held = np.concatenate([held, np.asarray(block, dtype=np.float32)])
            while next_start + size <= held_start + len(held):
                if self.name == "sliding" or next_start == 0:
                    yield next_start, held[next_start - held_start :][:size].copy()
                next_start += self.hop_samples
            # The last window may have to be moved back, so one window's length stays.
            drop = max(0, min(next_start - held_start, len(held) - size))
            held, held_start = held[drop:], held_start + drop
        total = held_start + len(held)
        if total and total <= size:
            if next_start == 0:
                yield 0, tile(held, size)
        elif self.name == "sliding" and total and next_start - self.hop_samples + size < total:
            yield total - size, held[-size:].copy()


def window_policy(
    name: str, window_s: float, hop_s: float | None = None, sample_rate_hz: int = 16000
) -> WindowPolicy:
    """A policy from its name and times; `sliding` hops by whole windows unless told otherwise.

    Raises:
        ConfigurationError: for an unknown name or an impossible hop.
    """
    if not math.isfinite(window_s) or not math.isfinite(hop_s or 0.0):
        raise ConfigurationError(f"a window of {window_s} s with a hop of {hop_s} s: both must be finite")
    window = round(window_s * sample_rate_hz)
    hop = window if hop_s is None else round(hop_s * sample_rate_hz)
    return WindowPolicy(name, window, hop, sample_rate_hz)  # type: ignore[arg-type]
