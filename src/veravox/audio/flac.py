"""FLAC by libFLAC (through soundfile), in this process; checksums of frames and of the whole are compared."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator

import numpy as np
import soundfile

from veravox.audio.containers import flac_promise
from veravox.audio.limits import Limits, exceeded
from veravox.audio.readers import AudioInfo, Reader, Refused, Unreadable
from veravox.audio.sources import Source

BLOCK = 1 << 16  # samples at a time
READ_BYTES = 1 << 20
# The marker of FLAC and the head of its first block, which is the last one or not.
BEGINNINGS = (b"fLaC\x00\x00\x00\x22", b"fLaC\x80\x00\x00\x22")


class FlacReader:
    """A FLAC file, from a sample on.

    libFLAC gives up on some files that are whole; another reader then goes on from the sample reached.

    Args:
        source: the open file.
        start: first sample to give; it is entered directly.
        limits: of processor time.
        other: gives a reader of the same file from a sample on.
    """

    def __init__(self, source: Source, start: int, limits: Limits, other: Callable[[int], Reader]) -> None:
        self._source, self._start, self._limits, self._other = source, start, limits, other
        self._second: Reader | None = None
        self._promised, md5, self._bits = flac_promise(source.read_at)
        self._md5 = None if md5 is None or start else (md5, hashlib.md5(usedforsecurity=False))
        try:
            source.file.seek(0)
            # A descriptor, since a name may hold bytes that are no text, or mislead by its ending.
            self._file = soundfile.SoundFile(source.file.fileno(), closefd=False)
            if start:
                self._file.seek(start)
        except (soundfile.LibsndfileError, TypeError, ValueError, OSError) as error:
            raise Unreadable(f"libsndfile: {flac_cause(error)}") from error
        rate = int(self._file.samplerate)
        duration_s = self._promised / rate if self._promised and rate else None
        self.info = AudioInfo(rate, int(self._file.channels), duration_s, "flac", "flac")

    def blocks(self) -> Iterator[np.ndarray]:
        """As `Reader.blocks`."""
        done, begin_s = 0, time.thread_time()
        kind, scale = ("int16", np.float32(2.0**-15)) if self._bits <= 16 else ("int32", np.float32(2.0**-31))
        while done + self._start != self._promised:
            try:
                block = self._file.read(BLOCK, dtype=kind, always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                yield from self._go_on(done, flac_cause(error))
                return
            if not len(block):
                break
            done += len(block)
            if self._md5 is not None:
                self._digest(block)
            values = block.astype(np.float32)
            values *= scale
            yield values
            if time.thread_time() - begin_s > self._limits.decode_s:
                raise Refused(exceeded("decode_s", self._limits))
        if self._promised is not None and self._start + done < self._promised:
            yield from self._go_on(done, "the data end too early")
            return
        if not self._start:
            self._check_end()

    def _go_on(self, done: int, cause: str) -> Iterator[np.ndarray]:
        """The rest as another reader gives it; its error names this reader's cause too."""
        try:
            self._second = self._other(self._start + done)
            yield from self._second.blocks()
        except Refused:
            raise
        except Unreadable as error:
            raise Unreadable(f"libsndfile: {cause}; {error}") from error

    def _digest(self, block: np.ndarray) -> None:
        """Take samples into the MD5: interleaved, little-endian, in as few bytes as they need."""
        assert self._md5 is not None
        shift, width = 8 * block.itemsize - self._bits, (self._bits + 7) // 8
        values = (block >> shift if shift else block).astype(f"<i{block.itemsize}", copy=False)
        if width != block.itemsize:
            values = np.ascontiguousarray(values.view(np.uint8).reshape(-1, block.itemsize)[:, :width])
        self._md5[1].update(values.data)

    def _check_end(self) -> None:
        if self._md5 is not None and self._md5[1].digest() != self._md5[0]:
            raise Refused(
                "is damaged, or was altered: its samples do not agree with the MD5 in its header; "
                "get the file again from its source"
            )
        second = self._second_beginning()
        if second is not None:
            raise Refused(
                f"holds a second recording of {self._source.size - second} bytes, which begins at byte {second} "
                "and is not heard; separate the two, or join them as sound"
            )

    def _second_beginning(self) -> int | None:
        """The byte at which another FLAC file begins."""
        position = 8
        while len(content := self._source.read_at(position, READ_BYTES)) >= 8:
            found = -1
            while (found := content.find(b"fLaC", found + 1)) >= 0:
                if content[found : found + 8] in BEGINNINGS:
                    return position + found
            position += len(content) - 7
        return None

    def close(self) -> None:
        """Close what reads the source, which closes itself."""
        self._file.close()
        if self._second is not None:
            self._second.close()


def flac_cause(error: Exception) -> str:
    """libsndfile's reason without its prefix, in one line."""
    text = getattr(error, "error_string", None) or str(error)
    return " ".join(str(text).removeprefix("Error : ").split()).rstrip(".") or type(error).__name__
