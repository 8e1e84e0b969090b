"""Any recording as mono float32 at one rate, streaming: memory does not grow with its length.

A three-hour recording passes through in blocks. Every step (decoding, mixing to mono, resampling) keeps its state
between blocks, so that the blocks joined are the same samples as the whole read at once.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from types import TracebackType
from typing import IO

import numpy as np
import soxr

from veravox.audio.headers import ogg_cut
from veravox.audio.mono import MonoMixer, to_mono
from veravox.audio.readers import AudioInfo, Reader, Unreadable, libraries_for
from veravox.errors import AudioError

__all__ = ["AudioInfo", "AudioStream", "open_audio", "read_audio", "resample", "to_mono"]

SAMPLE_RATES_HZ = (1000, 1_000_000)
# Full scale of 32-bit integers written as floating point is 2e9; beyond are damaged data, whose powers overflow.
LOUDEST = np.float32(1e10)


class AudioStream:
    """One open recording: a context manager, and an iterator (once) of mono float32 blocks.

    Every block has `block_s` seconds but the last, which holds what remains: every sample comes out, and their
    number is the native one times the ratio of the rates, rounded (within one sample). Made by `open_audio`.

    Attributes:
        info: the track as it is in the file.
        path: the file as it was named.
        sample_rate_hz: of the blocks.
    """

    def __init__(self, path: str, sample_rate_hz: int, block_s: float) -> None:
        self.path = path
        self.sample_rate_hz = sample_rate_hz
        self._block_samples = max(1, round(block_s * sample_rate_hz))
        self._file = _open_file(path)
        self._causes: list[str] = []
        try:
            self._libraries = libraries_for(self._file)
            self._reader = self._next_reader()
        except BaseException:
            self._file.close()
            raise
        self.info: AudioInfo = self._reader.info
        # libsndfile's length is exact, to half a sample; FFmpeg's reader makes its own allowance.
        exact = self._reader.library == "libsndfile" and self.info.duration_s is not None
        self._promise_s = (self.info.duration_s or 0.0) - 0.5 / self.info.sample_rate_hz if exact else 0.0
        self._blocks = self._rebuffered()

    def _next_reader(self) -> Reader:
        """The next library that opens the file; when none is left, the error holds every library's cause."""
        while self._libraries:
            library = self._libraries.pop(0)
            try:
                self._file.seek(0)
                reader = library(self._file)
            except Unreadable as error:
                self._causes.append(f"{library.library}: {error}")
                continue
            if SAMPLE_RATES_HZ[0] <= reader.info.sample_rate_hz <= SAMPLE_RATES_HZ[1]:
                return reader
            reader.close()
            self._causes.append(f"{library.library}: an impossible rate of {reader.info.sample_rate_hz} Hz")
        raise AudioError(
            f"{self.path!r} cannot be read as audio ({'; '.join(self._causes)}); "
            "is it a recording, whole, and of a kind that other programs play?"
        )

    def _native(self) -> Iterator[np.ndarray]:
        """Blocks (samples, channels) at the native rate.

        libsndfile gives up on FLAC files that are whole; FFmpeg then goes on from the sample reached.
        """
        done = skip = 0
        failure = None
        while True:
            try:
                for block in self._reader.blocks():
                    rest, skip = block[skip:], max(0, skip - len(block))
                    done += len(rest)
                    if len(rest):
                        yield rest
                failure = None
            except Unreadable as error:
                failure = str(error)
            missing_s = max(self._reader.missing_s(), self._promise_s - done / self.info.sample_rate_hz)
            if failure is None and missing_s <= 0 and not ogg_cut(self._file.fileno()):
                break
            self._causes.append(f"{self._reader.library}: {failure or 'the data end too early'}")
            if failure is None or not self._libraries or self._reader.library != "libsndfile":
                raise self._cut_short(done)
            self._replace_reader(done)
            skip = done
        if not done:
            raise AudioError(f"{self.path!r} holds an audio track without a single sample; record it again")

    def _cut_short(self, done: int) -> AudioError:
        of = f" of {self.info.duration_s:.2f} s" if self.info.duration_s else ""
        return AudioError(
            f"{self.path!r} is cut short or damaged: {done / self.info.sample_rate_hz:.2f} s{of} could be read "
            f"({'; '.join(self._causes)}); get the whole file, or save what is left as a new file"
        )

    def _replace_reader(self, done: int) -> None:
        """Go on with the other library, or say how much of the recording could be read."""
        self._reader.close()
        try:
            self._reader = self._next_reader()
        except AudioError:
            raise self._cut_short(done) from None
        new = self._reader.info
        if (new.sample_rate_hz, new.channels) != (self.info.sample_rate_hz, self.info.channels):
            self._causes.append(f"{self._reader.library}: another rate or channel count")
            raise self._cut_short(done)

    def _finite(self) -> Iterator[np.ndarray]:
        """The native blocks, refused (after counting them all) if any sample is NaN or beyond all sense."""
        position, bad, first = 0, 0, 0
        for block in self._native():
            with np.errstate(invalid="ignore", over="ignore"):
                suspect = not np.vdot(block, block) < LOUDEST * LOUDEST  # cheaper than a test of each sample
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

    def _resampled(self) -> Iterator[np.ndarray]:
        from_hz, to_hz = self.info.sample_rate_hz, self.sample_rate_hz
        mixer = MonoMixer(self.info.channels, from_hz)
        if from_hz == to_hz:
            for block in self._finite():
                yield from mixer.push(block)
            yield from mixer.flush()
            return
        resampler = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32")
        for block in self._finite():
            for mono in mixer.push(block):
                yield resampler.resample_chunk(mono)
        for mono in mixer.flush():
            yield resampler.resample_chunk(mono)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _rebuffered(self) -> Iterator[np.ndarray]:
        pending: list[np.ndarray] = []
        count = total = 0
        for piece in self._resampled():
            total += len(piece)
            while count + len(piece) >= self._block_samples:
                take = self._block_samples - count
                yield np.concatenate([*pending, piece[:take]])
                piece, pending, count = piece[take:], [], 0
            if len(piece):
                pending.append(piece)
                count += len(piece)
        if count:
            yield np.concatenate(pending)
        if not total:
            raise AudioError(f"{self.path!r} is too short to hold one sample at {self.sample_rate_hz} Hz")

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
        self._reader.close()
        self._file.close()


def _open_file(path: str) -> IO[bytes]:
    """Open a regular, non-empty file for reading, or say what stands against it."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{path!r} is a folder, not a file; name the files in it, or score the folder")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{path!r} is not a regular file (a pipe or device?); save the audio to a file first")
        if status.st_size == 0:
            raise AudioError(f"{path!r} is empty (0 bytes); copy or record it again")
        return open(path, "rb", buffering=0)
    except (OSError, ValueError) as error:
        reason = {
            errno.ENOENT: "does not exist; check the name",
            errno.ENOTDIR: "does not exist; check the name",
            errno.EACCES: "may not be read: no permission; change its mode or owner",
            errno.EPERM: "may not be read: no permission; change its mode or owner",
            errno.ELOOP: "is a symbolic link that leads to itself",
        }.get(getattr(error, "errno", None) or 0, f"cannot be opened: {error}")
        raise AudioError(f"{path!r} {reason}") from error


def open_audio(path: str | os.PathLike[str], sample_rate_hz: int = 16000, block_s: float = 10.0) -> AudioStream:
    """Open a recording of any kind for reading in blocks, at one rate, in mono.

    Args:
        path: wav, flac, mp3, m4a, aac, ogg, opus, webm, amr, wma, or a video with an audio track. A name that
            is no text may hold surrogate escapes, as `os.fsdecode` makes them.
        sample_rate_hz: of the blocks; the track is resampled by soxr (its `HQ` setting).
        block_s: length of a block in seconds; it changes no sample.
    Returns:
        A context manager and iterator of float32 blocks, shape (samples,), nominally in [-1, 1].
    Raises:
        AudioError: if the file is missing, a folder, unreadable, empty, or holds no audio; and while
            iterating, if it is damaged, cut short (fewer seconds than it promises), holds no sample, or
            samples that are not finite. A damaged file is never read in part without an error.
    """
    if not SAMPLE_RATES_HZ[0] <= sample_rate_hz <= SAMPLE_RATES_HZ[1] or not block_s > 0:
        raise AudioError(
            f"cannot read blocks of {block_s} s at {sample_rate_hz} Hz; the rate must be 1,000 to 1,000,000 Hz"
        )
    name = os.fspath(path)
    return AudioStream(os.fsdecode(name), int(sample_rate_hz), block_s)


def read_audio(
    path: str | os.PathLike[str], sample_rate_hz: int = 16000, max_s: float | None = None
) -> np.ndarray:
    """A whole recording, or its first `max_s` seconds, as `open_audio` gives it.

    Returns:
        float32, shape (samples,), at least one sample. With `max_s`, what lies behind it is neither decoded
        nor checked.
    Raises:
        AudioError: as `open_audio`.
    """
    most = None if max_s is None else max(1, round(max_s * sample_rate_hz))
    pieces: list[np.ndarray] = []
    count = 0
    with open_audio(path, sample_rate_hz, block_s=min(10.0, max_s or 10.0)) as stream:
        for block in stream:
            pieces.append(block)
            count += len(block)
            if most is not None and count >= most:
                break
    return np.concatenate(pieces)[:most]


def resample(waveform: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """A waveform at another rate: float32, shape (samples,); the same samples as `open_audio` would give."""
    waveform = np.ascontiguousarray(waveform, dtype=np.float32)
    if from_hz == to_hz:
        return waveform
    return np.asarray(soxr.resample(waveform, from_hz, to_hz), dtype=np.float32)
