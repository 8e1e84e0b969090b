"""Fingerprints on disk: memory holds where each lies, not what it is."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np


class FingerprintStore:
    """Fingerprints by number, in the order they were added.

    Args:
        folder: where `codes.bin` and `frames.bin` are written; removed by whoever made the folder.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._codes = (self.folder / "codes.bin").open("w+b")
        self._frames = (self.folder / "frames.bin").open("w+b")
        self._ends = array("q", [0])

    def __enter__(self) -> FingerprintStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._codes.close()
        self._frames.close()

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def sizes(self) -> np.ndarray:
        """Number of codes of each fingerprint, int64."""
        return np.diff(np.asarray(self._ends, np.int64))

    def add(self, codes: np.ndarray, frames: np.ndarray) -> int:
        """Store a fingerprint; gives its number."""
        self._codes.write(np.ascontiguousarray(codes, np.uint32).tobytes())
        self._frames.write(np.ascontiguousarray(frames, np.uint16).tobytes())
        self._ends.append(self._ends[-1] + len(codes))
        return len(self) - 1

    def read(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes (uint32) and frames (uint16) of the fingerprints from `first` up to `last`, joined."""
        self._codes.flush()
        self._frames.flush()
        start, count = self._ends[first], self._ends[last] - self._ends[first]
        codes = np.frombuffer(os.pread(self._codes.fileno(), 4 * count, 4 * start), np.uint32)
        return codes, np.frombuffer(os.pread(self._frames.fileno(), 2 * count, 2 * start), np.uint16)

    def gather(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Codes and frames of the given fingerprints, joined."""
        pieces = [self.read(number, number + 1) for number in numbers.tolist()]
        return np.concatenate([codes for codes, _ in pieces]), np.concatenate([frames for _, frames in pieces])

    def runs(self, codes_at_once: int) -> Iterator[tuple[int, int]]:
        """First and one past the last number of runs that hold about so many codes."""
        ends = np.asarray(self._ends, np.int64)
        first = 0
        while first < len(self):
            last = int(np.searchsorted(ends, ends[first] + codes_at_once, side="right")) - 1
            yield first, max(last, first + 1)
            first = max(last, first + 1)
