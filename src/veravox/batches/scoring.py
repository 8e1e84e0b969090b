"""Scoring's side of the batches: threads decode ahead while the model runs; trials come out in order."""

from __future__ import annotations

import math
import os
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from veravox.audio import AudioInfo, Quality, QualityMeter, SpeechFinder, SpeechMap, WindowPolicy, open_audio
from veravox.audio.decode import Recorded
from veravox.errors import AudioError, ProtocolError, first_few
from veravox.tables import Protocol

CHUNK_WINDOWS = 16
QUEUED_CHUNKS = 2
TRIALS_AHEAD = 32
ALIKE, SILENT_CHANNEL_DB = 0.9, 50.0
HELD_S = 600.0  # a longer recording is decoded twice, so that little of it is in memory


@dataclass(frozen=True, eq=False)
class Trial:
    """What gets one score: a recording or a part of it.

    Attributes:
        source: path, bytes or binary file object of a recording, or a waveform (samples,) at the windows' rate.
        start_s, end_s: the part; None is the recording's end.
        channel: the one to take, counted from 0; None mixes all.
    """

    source: Recorded | np.ndarray
    start_s: float = 0.0
    end_s: float | None = None
    channel: int | None = None

    def __str__(self) -> str:
        named = isinstance(self.source, str | os.PathLike)
        name = os.fspath(self.source) if named else "the recording"  # type: ignore[arg-type]
        if not self.start_s and self.end_s is None:
            return name
        return f"{name} from {self.start_s:g} s" + ("" if self.end_s is None else f" to {self.end_s:g} s")


def protocol_trials(protocol: Protocol) -> list[Trial]:
    """The trials of a protocol; its columns `start_s` and `end_s` name parts of recordings.

    Raises:
        ProtocolError: for a row without a path, or whose part is empty or no number.
    """
    paths, frame = protocol.audio_paths(), protocol.frame
    times = []
    for name in ("start_s", "end_s"):
        values = frame[name].to_list() if name in frame.columns else [None] * len(frame)
        times.append([_seconds(protocol, row, name, value) for row, value in enumerate(values)])
    starts = [start or 0.0 for start in times[0]]
    wrong = [
        utterance_id
        for utterance_id, start, end in zip(frame["utterance_id"], starts, times[1], strict=True)
        if start < 0 or (end is not None and end <= start)
    ]
    if wrong:
        raise ProtocolError(f"{protocol.name}: parts that end before they start, first {first_few(wrong)}")
    return [Trial(*trial) for trial in zip(paths, starts, times[1], strict=True)]


def _seconds(protocol: Protocol, row: int, name: str, value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        seconds = float(str(value))
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        trial = protocol.utterance_ids[row]
        raise ProtocolError(f"{protocol.name}: {name} of {trial!r} is no number of seconds: {value!r}")
    return seconds


@dataclass
class WindowChunk:
    """Some windows of one trial; a long recording comes in several pieces.

    Attributes:
        index: of the trial.
        starts: first sample of each window, in the trial.
        ends: the sample behind each window's last, in the trial; further off where pauses were left out.
        windows: (windows, S) float32.
        first: whether the trial begins here.
        last: whether the trial ends here.
        kept_samples: of the whole trial, what windows were cut from.
        quality: of the whole trial, with its last piece, where asked for.
        error: why the trial could not be read; then it has no windows.
        channels: of the recording, with the last piece.
    """

    index: int
    starts: list[int]
    ends: list[int]
    windows: np.ndarray
    first: bool
    last: bool
    kept_samples: int = 0
    quality: Quality | None = None
    error: AudioError | None = None
    channels: int = 1


def speech_windows(waveform: np.ndarray, policy: WindowPolicy) -> tuple[list[int], list[int], np.ndarray]:
    """Starts, ends and windows (windows, S) of a waveform in memory, as scoring cuts them."""
    trial = Trial(np.asarray(waveform, dtype=np.float32))
    chunks = list(read_windows(0, trial, policy, measure=False))
    starts, ends = ([value for chunk in chunks for value in getattr(chunk, name)] for name in ("starts", "ends"))
    return starts, ends, np.concatenate([chunk.windows for chunk in chunks])


def read_windows(index: int, trial: str | Trial, policy: WindowPolicy, measure: bool) -> Iterator[WindowChunk]:
    """The windows of one trial in pieces; an error is a piece too.

    Args:
        index: of the trial.
        trial: the recording, or its path.
        policy: `first`, `middle` or `sliding`.
        measure: whether to measure quality; then the whole file is read under every policy.
    """
    trial = trial if isinstance(trial, Trial) else Trial(trial)
    meter = QualityMeter(policy.sample_rate_hz) if measure else None
    first = True
    try:
        for chunk in _chunks(index, trial, policy, meter):
            yield chunk
            first = False
    except AudioError as error:
        empty = np.zeros((0, policy.window_samples), dtype=np.float32)
        yield WindowChunk(index, [], [], empty, first, last=True, error=error)


def _chunks(index: int, trial: Trial, policy: WindowPolicy, meter: QualityMeter | None) -> Iterator[WindowChunk]:
    opened: list[AudioInfo] = []
    blocks = _metered(_blocks(trial, policy.sample_rate_hz, opened), meter)
    speech: SpeechMap | None = None
    if policy.of_speech:
        blocks, speech = _speech(blocks, trial, policy.sample_rate_hz)
    counter = _Counter()
    spans: list[tuple[int, int]] = []
    windows: list[np.ndarray] = []
    first = True
    for start, window in policy.stream(counter.count(blocks)):
        if len(windows) == CHUNK_WINDOWS:
            yield WindowChunk(index, *_columns(spans), np.stack(windows), first, last=False)
            spans, windows, first = [], [], False
        end = start + policy.window_samples
        spans.append(speech.span(start, policy.window_samples) if speech else (start, end))
        windows.append(window)
    stacked = np.stack(windows) if windows else np.zeros((0, policy.window_samples), dtype=np.float32)
    quality = meter.result() if meter else None
    channels = opened[0].channels if opened else 1
    yield WindowChunk(index, *_columns(spans), stacked, first, True, counter.samples, quality, channels=channels)


def channels_differ(trial: Trial, channels: int, sample_rate_hz: int = 16000) -> bool:
    """Whether a recording's channels hold different sounds: two that sound, and correlate by less than 0.9.

    Raises:
        AudioError: if it cannot be read.
    """
    products = np.zeros((channels, channels))
    sides = [_blocks(replace(trial, channel=channel), sample_rate_hz) for channel in range(channels)]
    for blocks in zip(*sides, strict=True):
        signals = np.stack(blocks).astype(np.float64)
        products += signals @ signals.T
    energies = np.diag(products)
    sounding = energies > energies.max() * 10.0 ** (-SILENT_CHANNEL_DB / 10.0)
    scale = np.sqrt(np.outer(energies[sounding], energies[sounding]))
    return bool((np.abs(products[np.ix_(sounding, sounding)]) < ALIKE * scale).any())


def _columns(spans: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    return [start for start, _ in spans], [end for _, end in spans]


class _Counter:
    """Counts the samples that pass."""

    def __init__(self) -> None:
        self.samples = 0

    def count(self, blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        for block in blocks:
            self.samples += len(block)
            yield block


def _metered(blocks: Iterator[np.ndarray], meter: QualityMeter | None) -> Iterator[np.ndarray]:
    for block in blocks:
        if meter is not None:
            meter.update(block)
        yield block


def _speech(
    blocks: Iterator[np.ndarray], trial: Trial, sample_rate_hz: int
) -> tuple[Iterator[np.ndarray], SpeechMap]:
    """The speech of a recording, and where it lies. A long one is decoded a second time for it."""
    finder = SpeechFinder(sample_rate_hz)
    held: list[np.ndarray] = []
    samples = 0
    for block in blocks:
        finder.update(block)
        samples += len(block)
        held = [*held, block] if samples <= HELD_S * sample_rate_hz else []
    if not held:
        speech = finder.result()
        return speech.keep(_blocks(trial, sample_rate_hz)), speech
    waveform = np.concatenate(held)
    speech = finder.result(waveform)
    return speech.keep([waveform]), speech


def _blocks(trial: Trial, sample_rate_hz: int, opened: list[AudioInfo] | None = None) -> Iterator[np.ndarray]:
    """The samples of a trial, decoded as they are asked for; what the file is goes to `opened`.

    Raises:
        AudioError: if the file cannot be read, or ends before the part does.
    """
    whole = not trial.start_s and trial.end_s is None
    samples = 0
    if isinstance(trial.source, np.ndarray):
        last = None if trial.end_s is None else round(trial.end_s * sample_rate_hz)
        part = trial.source[round(trial.start_s * sample_rate_hz) : last]
        samples = len(part)
        if samples or whole:
            yield part
    else:
        with open_audio(
            trial.source, sample_rate_hz, start_s=trial.start_s, end_s=trial.end_s, channel=trial.channel
        ) as stream:
            if opened is not None:
                opened.append(stream.info)
            for block in stream:
                samples += len(block)
                yield block
    end_s = trial.start_s + samples / sample_rate_hz
    if not whole and (not samples or (trial.end_s is not None and trial.end_s - end_s > 0.5 / sample_rate_hz)):
        raise AudioError(f"{trial}: the recording ends at {end_s:.2f} s; correct start_s or end_s")


def prefetch(
    trials: Sequence[str | Trial], policy: WindowPolicy, workers: int, measure: bool = False
) -> Iterator[WindowChunk]:
    """The windows of many trials in order; `workers` threads decode ahead, with bounded memory.

    With 0 workers each file is decoded when its turn comes.
    """
    if workers < 1:
        for index, trial in enumerate(trials):
            yield from read_windows(index, trial, policy, measure)
        return
    crew = _Prefetcher(trials, policy, measure)
    threads = [threading.Thread(target=crew.work, daemon=True) for _ in range(min(workers, len(trials)))]
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

    def __init__(self, trials: Sequence[str | Trial], policy: WindowPolicy, measure: bool) -> None:
        self.trials, self.policy, self.measure = trials, policy, measure
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
                if self.stopped or index >= len(self.trials):
                    return
                self.next_trial += 1
                slot: queue.Queue[WindowChunk | BaseException] = queue.Queue(QUEUED_CHUNKS)
                self.queues[index] = slot
                self.lock.notify_all()
            try:
                for chunk in read_windows(index, self.trials[index], self.policy, self.measure):
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
        for index in range(len(self.trials)):
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
