"""Scoring's side of the batches: threads decode ahead while the model runs; trials come out in order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from veravox.audio import Quality, QualityMeter, WindowPolicy, open_audio
from veravox.errors import AudioError

CHUNK_WINDOWS = 16
QUEUED_CHUNKS = 2
TRIALS_AHEAD = 32


@dataclass
class WindowChunk:
    """Some windows of one trial; a long recording comes in several pieces.

    Attributes:
        index: of the trial.
        starts: first sample of each window.
        windows: (windows, S) float32.
        last: whether the trial ends here.
        quality: of the whole trial, with its last piece, where asked for.
        error: why the trial could not be heard; then it has no windows.
    """

    index: int
    starts: list[int]
    windows: np.ndarray
    last: bool
    quality: Quality | None = None
    error: AudioError | None = None


def read_windows(index: int, path: str, policy: WindowPolicy, measure: bool) -> Iterator[WindowChunk]:
    """The windows of one file in pieces, decoded as they are asked for; an error is a piece too.

    Args:
        index: of the trial.
        path: of the file.
        policy: `first`, `middle` or `sliding`.
        measure: whether to measure quality; then the whole file is read under every policy.
    """
    empty = np.zeros((0, policy.window_samples), dtype=np.float32)
    meter = QualityMeter(policy.sample_rate_hz) if measure else None
    starts: list[int] = []
    windows: list[np.ndarray] = []
    try:
        with open_audio(path, policy.sample_rate_hz) as stream:

            def blocks() -> Iterator[np.ndarray]:
                for block in stream:
                    if meter is not None:
                        meter.update(block)
                    yield block

            for start, window in policy.stream(blocks()):
                if len(windows) == CHUNK_WINDOWS:
                    yield WindowChunk(index, starts, np.stack(windows), last=False)
                    starts, windows = [], []
                starts.append(start)
                windows.append(window)
    except AudioError as error:
        yield WindowChunk(index, [], empty, last=True, error=error)
        return
    stacked = np.stack(windows) if windows else empty
    yield WindowChunk(index, starts, stacked, last=True, quality=meter.result() if meter else None)


def prefetch(
    paths: Sequence[str], policy: WindowPolicy, workers: int, measure: bool = False
) -> Iterator[WindowChunk]:
    """The windows of many files in order; `workers` threads decode ahead, with bounded memory.

    With 0 workers each file is decoded when its turn comes.
    """
    if workers < 1:
        for index, path in enumerate(paths):
            yield from read_windows(index, path, policy, measure)
        return
    crew = _Prefetcher(paths, policy, measure)
    threads = [threading.Thread(target=crew.work, daemon=True) for _ in range(min(workers, len(paths)))]
    for thread in threads:
        thread.start()
    try:
        yield from crew.in_order()
    finally:
        crew.stop(len(threads))
        for thread in threads:
            thread.join()


class _Prefetcher:
    """Threads that take trials in order, each trial with its own short queue."""

    def __init__(self, paths: Sequence[str], policy: WindowPolicy, measure: bool) -> None:
        self.paths, self.policy, self.measure = paths, policy, measure
        self.queues: dict[int, queue.Queue[WindowChunk | BaseException]] = {}
        self.room = threading.Semaphore(TRIALS_AHEAD)
        self.lock = threading.Condition()
        self.next_trial = 0
        self.stopped = False

    def work(self) -> None:
        while True:
            self.room.acquire()
            with self.lock:
                index = self.next_trial
                if self.stopped or index >= len(self.paths):
                    return
                self.next_trial += 1
                slot: queue.Queue[WindowChunk | BaseException] = queue.Queue(QUEUED_CHUNKS)
                self.queues[index] = slot
                self.lock.notify_all()
            try:
                for chunk in read_windows(index, self.paths[index], self.policy, self.measure):
                    self._put(slot, chunk)
                    if self.stopped:
                        return
            except BaseException as error:  # handed to the consumer, which raises it
                self._put(slot, error)

    def _put(self, slot: queue.Queue[WindowChunk | BaseException], item: WindowChunk | BaseException) -> None:
        while not self.stopped:
            try:
                slot.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def in_order(self) -> Iterator[WindowChunk]:
        for index in range(len(self.paths)):
            with self.lock:
                while index not in self.queues:
                    self.lock.wait()
                slot = self.queues[index]
            last = False
            while not last:
                chunk = slot.get()
                if isinstance(chunk, BaseException):
                    raise chunk
                last = chunk.last
                yield chunk
            del self.queues[index]
            self.room.release()

    def stop(self, threads: int) -> None:
        """Tell all threads to end; each may be waiting for room once more."""
        with self.lock:
            self.stopped = True
        self.room.release(max(1, threads))
