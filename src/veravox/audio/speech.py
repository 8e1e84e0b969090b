"""Where a recording holds speech, so that silence before, after and between is no evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from veravox.audio.level import FRAME_MS, active_power

SLOT_MS = 2.0
ENVELOPE_MS = 8.0
MIN_SPEECH_MS = 52.0  # a click fills one frame of 32 ms
EDGE_DB = 28.0  # under the active level; quieter is silence or room tone
EXACT_LEVEL_S = 120.0  # longer recordings have their level measured every 2 ms
MAX_GAP_S = 0.2
MAX_PAUSE_S = 0.5


@dataclass(frozen=True)
class SpeechMap:
    """The parts of a recording that are kept for scoring: its speech, with pauses of up to half a second.

    Attributes:
        starts, ends: first sample of each part and the one behind it, shape (parts,), rising.
    """

    starts: np.ndarray
    ends: np.ndarray

    @classmethod
    def whole(cls, samples: int) -> SpeechMap:
        """All of a recording."""
        return cls(np.array([0]), np.array([samples]))

    @property
    def samples(self) -> int:
        """Samples in all parts."""
        return int((self.ends - self.starts).sum())

    def keep(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The kept samples of a recording that arrives in blocks, one part after the other."""
        position = 0
        for block in blocks:
            end = position + len(block)
            first, last = np.searchsorted(self.ends, position, "right"), np.searchsorted(self.starts, end, "left")
            for start, stop in zip(self.starts[first:last], self.ends[first:last], strict=True):
                yield block[max(start - position, 0) : stop - position]
            position = end

    def span(self, first: int, samples: int) -> tuple[int, int]:
        """Where `samples` kept samples from `first` on lie in the recording: first sample, and the one behind."""
        last = min(first + samples, self.samples) - 1
        return self._original(first), self._original(last) + 1

    def _original(self, kept: int) -> int:
        before = np.concatenate([[0], np.cumsum(self.ends - self.starts)])
        part = min(int(np.searchsorted(before, kept, "right")) - 1, len(self.starts) - 1)
        return int(self.starts[part] + kept - before[part])


class SpeechFinder:
    """Finds the speech of a recording that arrives in blocks; the block size changes nothing.

    Speech reaches to within 15.9 dB of the active level (ITU-T P.56) for longer than a click. Around it, sound
    counts down to 28 dB under that level, across gaps of up to 0.2 s. What lies outside is left out, and so is the
    middle of pauses longer than half a second. A recording without speech is kept whole.

    Edges depend on the samples around them, not on where the recording starts: given the samples, silence that is
    added in front moves no edge against the speech.

    Args:
        sample_rate_hz: of the blocks.
    """

    def __init__(self, sample_rate_hz: int = 16000) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._slot = max(1, round(SLOT_MS * sample_rate_hz / 1000))
        self._rest = np.zeros(0, np.float32)
        self._moments: list[np.ndarray] = []
        self._samples = 0

    def update(self, block: np.ndarray) -> None:
        """Take the next samples: float, shape (samples,)."""
        self._samples += len(block)
        joined = np.concatenate([self._rest, np.asarray(block, dtype=np.float32)])
        whole = len(joined) // self._slot * self._slot
        self._rest = joined[whole:].copy()
        self._moments.append(_moments(joined[:whole], self._slot))

    def result(self, waveform: np.ndarray | None = None) -> SpeechMap:
        """Where the speech of all samples so far lies.

        Args:
            waveform: the same samples in one piece; then edges are exact to the sample, else to 2 ms.
        """
        rest = np.pad(self._rest, (0, -len(self._rest) % self._slot))
        moments = np.concatenate([*self._moments, _moments(rest, self._slot)], axis=1)  # (2, steps)
        step = self._slot
        exact = waveform is not None and len(waveform) <= EXACT_LEVEL_S * self.sample_rate_hz
        if waveform is not None and exact:
            moments, step = _moments(waveform, 1), 1
        width = self._count(FRAME_MS, step)
        powers = _moving_variance(moments, step, width)
        active, threshold = active_power(powers)
        loud = _runs(powers >= threshold, 0, self._count(MIN_SPEECH_MS, step)) - width // 2
        if not active or not len(loud):
            return SpeechMap.whole(self._samples)
        middles = loud.mean(axis=1) * step
        if waveform is not None and not exact:
            moments, step = _moments(waveform, 1), 1
        return self._parts(self._sounds(moments, step, active * 10.0 ** (-EDGE_DB / 10.0)) * step, middles)

    def _sounds(self, moments: np.ndarray, step: int, edge: float) -> np.ndarray:
        """Runs (runs, 2) of steps that are no silence."""
        width = self._count(ENVELOPE_MS, step)
        envelope = _moving_variance(moments, step, width)[width // 2 :][: moments.shape[1]]
        # The envelope alone reaches beyond an abrupt edge.
        sounds = (envelope >= edge) & (moments[1] / step >= edge)
        return _runs(sounds, round(MAX_GAP_S * self.sample_rate_hz / step), 1)

    def _count(self, milliseconds: float, step: int) -> int:
        return max(1, round(milliseconds * self.sample_rate_hz / 1000 / step))

    def _parts(self, runs: np.ndarray, middles: np.ndarray) -> SpeechMap:
        """The runs (runs, 2) of sound around loud middles, a quarter of a second longer where they part."""
        holds = np.searchsorted(middles, runs[:, 1], "right") > np.searchsorted(middles, runs[:, 0], "left")
        if not holds.any():
            return SpeechMap.whole(self._samples)
        starts, ends = runs[holds].T
        long = starts[1:] - ends[:-1] > MAX_PAUSE_S * self.sample_rate_hz
        half = round(MAX_PAUSE_S * self.sample_rate_hz / 2)
        return SpeechMap(
            np.concatenate([starts[:1], starts[1:][long] - half]),
            np.minimum(np.concatenate([ends[:-1][long] + half, ends[-1:]]), self._samples),
        )


def find_speech(waveform: np.ndarray, sample_rate_hz: int = 16000) -> SpeechMap:
    """Where the speech of a waveform lies. See `SpeechFinder`."""
    finder = SpeechFinder(sample_rate_hz)
    finder.update(waveform)
    return finder.result(waveform)


def _moments(samples: np.ndarray, step: int) -> np.ndarray:
    """Sum and sum of squares of every `step` samples, (2, steps), float64."""
    values = samples.reshape(-1, step).astype(np.float64)
    return np.stack([values.sum(axis=1), np.einsum("ks,ks->k", values, values)])


def _moving_variance(moments: np.ndarray, step: int, width: int) -> np.ndarray:
    """Mean square about the mean of every `width` neighbours, (steps + width - 1,), silence beyond the ends."""
    padded = np.pad(moments, ((0, 0), (width, width - 1)))
    sums = np.cumsum(padded, axis=1)
    first, second = (sums[:, width:] - sums[:, :-width]) / (width * step)
    return np.asarray(np.maximum(second - first * first, 0.0))


def _runs(mask: np.ndarray, max_gap: int, least: int) -> np.ndarray:
    """Runs (runs, 2) of a mask, across gaps of up to `max_gap`; the short ones left out where one is not."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0)).reshape(-1, 2)
    if len(edges) > 1:
        parted = edges[1:, 0] - edges[:-1, 1] > max_gap
        edges = np.stack(
            [edges[np.concatenate([[True], parted]), 0], edges[np.concatenate([parted, [True]]), 1]], 1
        )
    lengths = edges[:, 1] - edges[:, 0]
    return edges[lengths >= least] if (lengths >= least).any() else edges
