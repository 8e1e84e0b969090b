"""Any recording as mono float32 at one rate, streaming: memory does not grow with its length.

A three-hour recording passes through in blocks. Every step (decoding, mixing to mono, resampling) keeps its state
between blocks, so that the blocks joined are the same samples as the whole read at once. Uncompressed WAV and FLAC
are read here; everything else is decoded by FFmpeg in a process of its own.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from types import TracebackType
from typing import IO, TypeAlias

import numpy as np
import soxr

from veravox.audio.kinds import refuse_by_head
from veravox.audio.limits import Limits, current_limits, exceeded
from veravox.audio.mono import MonoMixer, to_mono
from veravox.audio.pool import ffmpeg_reader
from veravox.audio.readers import AudioInfo, Reader, Refused, Unreadable
from veravox.audio.sources import open_source
from veravox.audio.wav import WavLayout, WavReader, check_unread, is_wav, wav_layout
from veravox.errors import AudioError

__all__ = ["AudioInfo", "AudioStream", "Recorded", "open_audio", "read_audio", "resample", "to_mono"]

Recorded: TypeAlias = "str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]"
"""What a recording is read from: a path, the bytes of a file, or a binary file object."""

SAMPLE_RATES_HZ = (1000, 1_000_000)
# Full scale of 32-bit integers written as floating point is 2e9; beyond are damaged data, whose powers overflow.
LOUDEST = np.float32(1e10)
MARGIN_S = 0.1  # more than the resampler's filter is long


class AudioStream:
    """One open recording: a context manager, and an iterator (once) of mono float32 blocks.

    Every block has `block_s` seconds but the last, which holds what remains: every sample comes out, and their
    number is the native one times the ratio of the rates, rounded (within one sample). Made by `open_audio`.

    Attributes:
        info: the track as it is in the file.
        path: the file as it was named; `<bytes>` for bytes.
        sample_rate_hz: of the blocks.
    """

    def __init__(
        self,
        source: Recorded,
        sample_rate_hz: int,
        block_s: float,
        start_s: float = 0.0,
        end_s: float | None = None,
        limits: Limits | None = None,
        channel: int | None = None,
    ) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._channel = channel
        self._block_samples = max(1, round(block_s * sample_rate_hz))
        self._start = round(start_s * sample_rate_hz)
        self._end = None if end_s is None else max(self._start + 1, round(end_s * sample_rate_hz))
        self._limits = limits or current_limits()
        self._source = open_source(source)
        self.path = self._source.name
        self._reader: Reader | None = None
        try:
            self._reader = self._open_reader(0)
            self.info: AudioInfo = self._reader.info
            if channel is not None and not 0 <= channel < self.info.channels:
                raise AudioError(f"{self.path!r} has {self.info.channels} channels, and no channel {channel + 1}")
        except BaseException:
            self._source.close()
            raise
        self._blocks = self._rebuffered()

    def _open_reader(self, start: int) -> Reader:
        """A reader that gives the native samples from `start` on."""
        source = self._source
        try:
            head = source.read_at(0, 512)
            refuse_by_head(head)
            reader = self._reader_for(head, start)
        except Refused as error:
            raise AudioError(f"{self.path!r} {error}") from error
        except Unreadable as error:
            raise AudioError(
                f"{self.path!r} cannot be read as audio ({error}); "
                "is it a recording, whole, and of a kind that other programs play?"
            ) from error
        if not SAMPLE_RATES_HZ[0] <= reader.info.sample_rate_hz <= SAMPLE_RATES_HZ[1]:
            reader.close()
            raise AudioError(f"{self.path!r} states an impossible rate of {reader.info.sample_rate_hz} Hz")
        return reader

    def _reader_for(self, head: bytes, start: int) -> Reader:
        source, limits = self._source, self._limits
        if is_wav(head):
            layout = wav_layout(source)
            if layout.width:
                return WavReader(source, layout, start)
            return _CodedWav(layout, ffmpeg_reader(source, start, limits))
        if head[:4] == b"fLaC":
            from veravox.audio.flac import FlacReader

            return FlacReader(source, start, limits, lambda sample: ffmpeg_reader(source, sample, limits))
        return ffmpeg_reader(source, start, limits)

    def _native(self, reader: Reader) -> Iterator[np.ndarray]:
        """Blocks (samples, channels) at the native rate, as long as they stay within the limits."""
        is_part = self._end is not None and self._end - self._start <= self._limits.sound_s * self.sample_rate_hz
        done, most = 0, math.inf if is_part else self._limits.sound_s * self.info.sample_rate_hz
        stated_s = 0.0 if isinstance(reader, WavReader) else self.info.duration_s or 0.0
        if self._end is None and stated_s > self._limits.sound_s:
            raise AudioError(f"{self.path!r} {exceeded('sound_s', self._limits)}")
        try:
            for block in reader.blocks():
                done += len(block)
                if done > most:
                    raise AudioError(f"{self.path!r} {exceeded('sound_s', self._limits)}")
                yield block
        except Refused as error:
            raise AudioError(f"{self.path!r} {error}") from error
        except Unreadable as error:
            raise self._cut_short(done, str(error)) from error
        if not done and not self._start:
            raise AudioError(f"{self.path!r} holds an audio track without a single sample; record it again")

    def _cut_short(self, done: int, cause: str) -> AudioError:
        of = f" of {self.info.duration_s:.2f} s" if self.info.duration_s else ""
        return AudioError(
            f"{self.path!r} is cut short or damaged: {done / self.info.sample_rate_hz:.2f} s{of} could be read "
            f"({cause}); get the whole file, or save what is left as a new file"
        )

    def _finite(self, reader: Reader, first_sample: int = 0) -> Iterator[np.ndarray]:
        """The native blocks, refused (after counting them all) if any sample is NaN or beyond all sense."""
        position, bad, first = first_sample, 0, 0
        for block in self._native(reader):
            flat = block.reshape(-1) if block.flags.c_contiguous else block.T.reshape(-1)
            with np.errstate(invalid="ignore", over="ignore"):
                suspect = not np.dot(flat, flat) < LOUDEST * LOUDEST  # cheaper than a test of each sample
                finite = np.abs(block) <= LOUDEST if suspect else None
            if finite is not None and not finite.all():
                first = first if bad else position + int(np.argmin(finite.all(axis=1)))
                bad += int(finite.size - np.count_nonzero(finite))
            position += len(block)
            if not bad:
                yield block
        if bad:
            raise AudioError(
                f"{self.path!r} holds {bad} samples that are not finite numbers (NaN or infinity) or over "
                f"{LOUDEST:g} times full scale, the first at {first / self.info.sample_rate_hz:.3f} s; export it "
                "again as 16-bit PCM"
            )

    def _enter(self, mixer: MonoMixer) -> tuple[int, int]:
        """Where to begin so that the samples from the start on are those of the whole.

        Returns:
            The native sample to begin with, and the sample it becomes at the rate of the blocks: a little before
            the start, so that the resampler's memory is filled, and where both rates meet.
        """
        assert self._reader is not None
        from_hz, to_hz = self.info.sample_rate_hz, self.sample_rate_hz
        exact = self.info.container in ("flac", "wav", "w64")
        if exact and self._start >= to_hz * (math.inf if self.info.duration_s is None else self.info.duration_s):
            raise self._ends_before()
        common = math.gcd(from_hz, to_hz)
        margin = 0 if from_hz == to_hz else round(MARGIN_S * to_hz)
        steps = max(0, self._start - margin) * common // to_hz
        for block in self._finite(self._reader):  # the choice of channels is that of the whole
            if mixer.is_decided:
                break
            for _ in mixer.push(block):
                pass
        for _ in mixer.flush():
            pass
        self._reader.close()
        self._reader = self._open_reader(steps * from_hz // common)
        return steps * from_hz // common, steps * to_hz // common

    def _resampled(self) -> Iterator[np.ndarray]:
        """Mono blocks from `self._start` on."""
        from_hz, to_hz = self.info.sample_rate_hz, self.sample_rate_hz
        mixer = MonoMixer(self.info.channels, from_hz, self._channel)
        native, skip = self._enter(mixer) if self._start else (0, 0)
        assert self._reader is not None
        skip = self._start - skip
        for piece in _converted(self._finite(self._reader, native), mixer, from_hz, to_hz):
            yield piece[skip:] if skip else piece
            skip = max(0, skip - len(piece))

    def _rebuffered(self) -> Iterator[np.ndarray]:
        pending: list[np.ndarray] = []
        count = total = 0
        most = None if self._end is None else self._end - self._start
        for piece in self._resampled():
            piece = piece if most is None else piece[: most - total]
            total += len(piece)
            while count + len(piece) >= self._block_samples:
                take = self._block_samples - count
                yield _joined([*pending, piece[:take]])
                piece, pending, count = piece[take:], [], 0
            if len(piece):
                pending.append(piece)
                count += len(piece)
            if total == most:
                break
        if count:
            yield _joined(pending)
        if not total and self._start:
            raise self._ends_before()
        if not total:
            raise AudioError(f"{self.path!r} is too short to hold one sample at {self.sample_rate_hz} Hz")

    def _ends_before(self) -> AudioError:
        return AudioError(f"{self.path!r} ends before {self._start / self.sample_rate_hz:.3f} s")

    def __iter__(self) -> Iterator[np.ndarray]:
        return self

    def __next__(self) -> np.ndarray:
        return next(self._blocks)

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the blocks already given stay valid."""
        self._blocks.close()  # type: ignore[attr-defined]
        if self._reader is not None:
            self._reader.close()
        self._source.close()


def _converted(blocks: Iterator[np.ndarray], mixer: MonoMixer, from_hz: int, to_hz: int) -> Iterator[np.ndarray]:
    """Native blocks (samples, channels) as mono at another rate."""
    if from_hz == to_hz:
        for block in blocks:
            yield from mixer.push(block)
        yield from mixer.flush()
        return
    resampler = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
    for block in blocks:
        for mono in mixer.push(block):
            yield resampler.resample_chunk(mono)
    for mono in mixer.flush():
        yield resampler.resample_chunk(mono)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def _joined(pieces: list[np.ndarray]) -> np.ndarray:
    """One array; a copy only of several pieces, since copies are what short clips are slow by."""
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


class _CodedWav:
    """A WAV file whose sound is coded (MP3, ADPCM, GSM): FFmpeg decodes it, its chunks say whether it is whole."""

    def __init__(self, layout: WavLayout, reader: Reader) -> None:
        self._layout, self._reader = layout, reader
        self.info = reader.info

    def blocks(self) -> Iterator[np.ndarray]:
        yield from self._reader.blocks()
        if self._layout.stated is not None and self._layout.present < self._layout.stated:
            raise Unreadable("the data end too early")
        check_unread(self._layout)

    def close(self) -> None:
        self._reader.close()


def open_audio(
    source: Recorded,
    sample_rate_hz: int = 16000,
    block_s: float = 10.0,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    limits: Limits | None = None,
    channel: int | None = None,
) -> AudioStream:
    """Open a recording of any kind for reading in blocks, at one rate, in mono.

    Args:
        source: path, bytes or binary file object of a wav, flac, mp3, m4a, aac, ogg, opus, webm, amr, wma, or a
            video with an audio track. A name that is no text may hold surrogate escapes, as `os.fsdecode` makes
            them. A file object is read from where it stands to its end.
        sample_rate_hz: rate of the blocks; the track is resampled by soxr (its `HQ` setting).
        block_s: length of a block in seconds; it changes no sample.
        start_s: time of the first sample. WAV and FLAC are entered there; others are decoded up to it.
        end_s: time of the end; the end of the recording if None or later.
        limits: what decoding may cost; those of `set_limits` if None.
        channel: the one to take, counted from 0; all are mixed if None.
    Returns:
        A context manager and iterator of float32 blocks, shape (samples,), nominally in [-1, 1]. With `start_s`
        and `end_s`, they are those samples of the whole (within 1e-6 if it is resampled).
    Raises:
        AudioError: if the file is missing, a folder, unreadable, empty, of a kind that is not allowed, or holds no
            audio; and while iterating, if it is damaged, cut short (fewer seconds than it promises), passes a
            limit, holds no sample, or samples that are not finite. A damaged file is never read in part without
            an error; but of what lies outside `start_s` and `end_s` nothing is checked.
    """
    if not SAMPLE_RATES_HZ[0] <= sample_rate_hz <= SAMPLE_RATES_HZ[1] or not block_s > 0:
        raise AudioError(
            f"cannot read blocks of {block_s} s at {sample_rate_hz} Hz; the rate must be 1,000 to 1,000,000 Hz"
        )
    if not 0 <= start_s < math.inf or (end_s is not None and not end_s > start_s):
        raise AudioError(
            f"cannot read from {start_s} s to {end_s} s; the start must be 0 or later, the end after it"
        )
    return AudioStream(source, int(sample_rate_hz), block_s, start_s, end_s, limits, channel)


def read_audio(
    source: Recorded,
    sample_rate_hz: int = 16000,
    max_s: float | None = None,
    *,
    start_s: float = 0.0,
    end_s: float | None = None,
    limits: Limits | None = None,
) -> np.ndarray:
    """A whole recording, or a part of it, as `open_audio` gives it.

    Args:
        source: path, bytes or binary file object.
        sample_rate_hz: rate of the result.
        max_s: length of the part, in place of `end_s`.
        start_s: time of the first sample.
        end_s: time of the end; the end of the recording if None or later.
        limits: what decoding may cost; those of `set_limits` if None.
    Returns:
        float32, shape (samples,), at least one sample.
    Raises:
        AudioError: as `open_audio`.
    """
    if max_s is not None:
        if end_s is not None or not max_s > 0:
            raise AudioError(f"give max_s (above 0) or end_s, not max_s={max_s} and end_s={end_s}")
        end_s = start_s + max_s
    part_s = 10.0 if end_s is None else min(10.0, end_s - start_s)
    with open_audio(
        source, sample_rate_hz, max(part_s, 1e-3), start_s=start_s, end_s=end_s, limits=limits
    ) as stream:
        return _joined(list(stream))


def resample(waveform: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """A waveform at another rate: float32, shape (samples,); the same samples as `open_audio` would give."""
    waveform = np.ascontiguousarray(waveform, dtype=np.float32)
    if from_hz == to_hz:
        return waveform
    return np.asarray(soxr.resample(waveform, from_hz, to_hz), dtype=np.float32)
