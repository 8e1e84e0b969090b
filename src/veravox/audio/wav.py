"""Uncompressed WAV and Wave64, read by numpy alone: what its header says, and what lies in the file beside it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from veravox.audio.readers import BLOCK_FRAMES, SLACK_S, AudioInfo, Refused, Unreadable
from veravox.audio.sources import Source

# Writers that do not know the length yet (pipes, crashed recorders) leave 0, all ones, or just under 2 GiB.
UNKNOWN_BYTES = 0x7FFFF000
W64_UNKNOWN_BYTES = 1 << 60
MAX_CHUNKS = 10_000
MAX_CHANNELS = 256
BLOCK_BYTES = 1 << 22
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")
W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
PCM, FLOAT, ALAW, MULAW, EXTENSIBLE = 1, 3, 6, 7, 0xFFFE
TAGS = (b"TAG", b"APETAGEX", b"ID3", b"id3 ", b"LYRICSBEGIN", b"3DI")


@dataclass
class WavLayout:
    """What a WAV file holds, by its chunks.

    Attributes:
        tag: the coding's number.
        width: bytes of one sample in one channel; 0 where the coding has no such thing.
        pieces: position and bytes of each stretch of sound that is there.
        stated: bytes of sound that the header promises; None if it does not know.
        unread: position and bytes of what the header does not account for.
        repeats: whether another recording begins there.
    """

    tag: int = 0
    channels: int = 0
    sample_rate_hz: int = 0
    bits: int = 0
    width: int = 0
    byte_rate: int = 0
    big_endian: bool = False
    container: str = "wav"
    pieces: list[tuple[int, int]] = field(default_factory=list)
    stated: int | None = 0
    unread: tuple[int, int] = (0, 0)
    repeats: bool = False

    @property
    def present(self) -> int:
        """Bytes of sound that are there."""
        return sum(count for _, count in self.pieces)


def is_wav(head: bytes) -> bool:
    """Whether a file that begins so is WAV (RIFF, RIFX, RF64, BW64) or Wave64."""
    return (head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE") or head[:16] == W64_RIFF


def wav_layout(source: Source) -> WavLayout:
    """Read all chunks of a WAV or Wave64 file.

    Raises:
        Unreadable: if there is no format, no sound, or both make no sense.
    """
    head = source.read_at(0, 16)
    layout = WavLayout(big_endian=head[:4] == b"RIFX", container="w64" if head == W64_RIFF else "wav")
    walk = _w64_chunks if layout.container == "w64" else _wav_chunks
    last = walk(source, layout)
    if not layout.tag:
        raise Unreadable("the header states no format")
    if not layout.pieces:
        raise Unreadable("not a single sample")
    _find_unread(source, layout, last)
    return layout


def _wav_chunks(source: Source, layout: WavLayout) -> int:
    """Take in chunk after chunk; gives the position where they end or make no sense any more."""
    order = ">" if layout.big_endian else "<"
    position, long_bytes = 12, None
    for _ in range(MAX_CHUNKS):
        head = source.read_at(position, 8)
        if len(head) < 8 or (layout.pieces and not _is_chunk(head, source.size - position - 8, order)):
            position -= _unpadded(source, layout, position, order)
            head = source.read_at(position, 8)
            if len(head) < 8 or not _is_chunk(head, source.size - position - 8, order):
                return min(position, source.size)
        name, length = struct.unpack(f"{order}4sI", head)
        if name in (b"RIFF", b"RIFX", b"RF64", b"BW64"):
            return position
        start, left = position + 8, source.size - position - 8
        if name == b"ds64":
            sizes = source.read_at(start, 16)
            long_bytes = struct.unpack(f"{order}QQ", sizes)[1] if len(sizes) == 16 else None
        elif name == b"fmt " and not layout.pieces:
            _take_format(layout, source.read_at(start, min(length, 40)), order)
        elif name == b"data":
            if length == 0xFFFFFFFF and long_bytes is not None:
                length = long_bytes
            elif length >= UNKNOWN_BYTES or (length == 0 and not _is_walk(source, start, order)):
                length, layout.stated = left, None
            _take_data(layout, start, length, left)
        position = start + length + length % 2
    raise Unreadable(f"more than {MAX_CHUNKS} chunks")


def _is_chunk(head: bytes, left: int, order: str) -> bool:
    """Whether eight bytes can begin a chunk that lies in the file (the last one may be cut)."""
    name, length = struct.unpack(f"{order}4sI", head)
    return all(32 <= byte < 127 for byte in name) and (length <= left or name in (b"LIST", b"data", b"id3 "))


def _is_walk(source: Source, position: int, order: str) -> bool:
    """Whether chunks lead from a position to the end of the file."""
    for _ in range(64):
        head = source.read_at(position, 8)
        if len(head) < 8:
            return True
        if not _is_chunk(head, source.size - position - 8, order):
            return False
        length = struct.unpack(f"{order}I", head[4:])[0]
        position += 8 + length + length % 2
    return True


def _unpadded(source: Source, layout: WavLayout, position: int, order: str) -> int:
    """1 if the chunk before has an odd length and its writer left out the byte that makes it even."""
    before = source.read_at(position - 1, 8)
    odd = any(start + count == position - 1 for start, count in layout.pieces)
    return int(odd and len(before) == 8 and _is_chunk(before, source.size - position - 7, order))


def _take_data(layout: WavLayout, start: int, length: int, left: int) -> None:
    if layout.stated is not None:
        layout.stated += length
    if min(length, left) > 0:
        layout.pieces.append((start, min(length, left)))


def _take_format(layout: WavLayout, content: bytes, order: str) -> None:
    if len(content) < 16:
        return
    tag, channels, rate, byte_rate, align, bits = struct.unpack(f"{order}HHIIHH", content[:16])
    if tag == EXTENSIBLE and len(content) >= 26:
        tag = struct.unpack(f"{order}H", content[24:26])[0]
    layout.tag, layout.channels, layout.sample_rate_hz = tag, channels, rate
    layout.bits, layout.byte_rate, layout.width = bits, byte_rate, 0
    if tag not in (PCM, FLOAT, ALAW, MULAW):
        return
    if not 1 <= channels <= MAX_CHANNELS:
        raise Unreadable(f"{channels} channels")
    width = align // channels
    if bits % 8 == 0 and bits // 8 != width:
        width = bits // 8  # the number of bits is the more trustworthy of the two
    allowed = {PCM: (1, 2, 3, 4), FLOAT: (4, 8), ALAW: (1,), MULAW: (1,)}[tag]
    if width not in allowed or (bits < 8 and tag == PCM):
        raise Refused(f"states samples of {bits} bits, which WAV does not define for its coding; convert it anew")
    layout.width, layout.byte_rate = width, width * channels * rate


def _w64_chunks(source: Source, layout: WavLayout) -> int:
    position = 40
    for _ in range(MAX_CHUNKS):
        head = source.read_at(position, 24)
        if len(head) < 24 or (head[4:16] != W64_TAIL and head[:16] != W64_RIFF):
            return min(position, source.size)
        length = int.from_bytes(head[16:24], "little") - 24
        start, left = position + 24, source.size - position - 24
        if head[:16] == W64_RIFF:
            return position
        if head[:4] == b"fmt ":
            _take_format(layout, source.read_at(start, min(max(length, 0), 40)), "<")
        elif head[:4] == b"data":
            if not 0 < length < W64_UNKNOWN_BYTES:
                length, layout.stated = left, None
            _take_data(layout, start, length, left)
        if length < 0:
            return position
        position = start + (length + 7) // 8 * 8
    raise Unreadable(f"more than {MAX_CHUNKS} chunks")


def _find_unread(source: Source, layout: WavLayout, position: int) -> None:
    """Bytes behind the last chunk that may be sound: neither zeros nor a tag, and more than a few."""
    count = source.size - position
    head = source.read_at(position, 16)
    layout.repeats = is_wav(head) or head[:4] in (b"RIFF", b"fLaC", b"OggS")
    if layout.repeats or (count > SLACK_S * layout.byte_rate and not is_filler(source, position)):
        layout.unread = (position, count)


def is_filler(source: Source, position: int) -> bool:
    """Whether a file holds nothing but zeros from a position on, or a tag."""
    if source.read_at(position, 11).startswith(TAGS):
        return True
    while chunk := source.read_at(position, 1 << 20):
        if chunk.strip(b"\0"):
            return False
        position += len(chunk)
    return True


class WavReader:
    """Uncompressed sound of a WAV or Wave64 file, from a sample on.

    Args:
        source: the open file.
        layout: of the file; its width is not 0.
        start: first sample to give.
        whole: whether the file is read to its end, so that its end is checked.
    """

    def __init__(self, source: Source, layout: WavLayout, start: int = 0, whole: bool = True) -> None:
        self._source, self._layout, self._start, self._whole = source, layout, start, whole
        self._frame_bytes = layout.width * layout.channels
        frames = (layout.present if layout.stated is None else layout.stated) / self._frame_bytes
        if not layout.present >= self._frame_bytes:
            raise Unreadable("not a single sample")
        self.info = AudioInfo(
            layout.sample_rate_hz,
            layout.channels,
            int(frames) / layout.sample_rate_hz if layout.sample_rate_hz and layout.stated is not None else None,
            _codec(layout),
            layout.container,
        )

    def blocks(self) -> Iterator[np.ndarray]:
        skip = self._start * self._frame_bytes
        most, rest = min(BLOCK_FRAMES, BLOCK_BYTES // self._frame_bytes) * self._frame_bytes, b""
        for position, count in self._layout.pieces:
            position, count, skip = position + min(skip, count), count - min(skip, count), max(0, skip - count)
            while count:
                content = self._source.read_at(position, min(count, most))
                if not content:
                    raise Unreadable("the file became shorter while it was read")
                position, count = position + len(content), count - len(content)
                content = rest + content if rest else content
                whole = len(content) // self._frame_bytes * self._frame_bytes
                rest = content[whole:]
                if whole:
                    yield self._decoded(content[:whole] if rest else content)
        if self._whole:
            self._check_end()

    def _check_end(self) -> None:
        layout = self._layout
        if layout.stated is not None and layout.present < layout.stated // self._frame_bytes * self._frame_bytes:
            raise Unreadable("the data end too early")
        check_unread(layout)

    def _decoded(self, content: bytes) -> np.ndarray:
        """float32, shape (samples, channels)."""
        layout, order = self._layout, ">" if self._layout.big_endian else "<"
        if layout.tag in (ALAW, MULAW):
            values = _companding(layout.tag)[np.frombuffer(content, np.uint8)]
        elif layout.tag == FLOAT:
            with np.errstate(over="ignore"):
                values = np.frombuffer(content, f"{order}f{layout.width}").astype(np.float32)
        elif layout.width == 1:
            values = (np.frombuffer(content, np.uint8).astype(np.float32) - 128.0) * np.float32(2.0**-7)
        elif layout.width == 3:
            values = _three_bytes(content, layout.big_endian) * np.float32(2.0**-31)
        else:
            values = np.frombuffer(content, f"{order}i{layout.width}").astype(np.float32)
            values *= np.float32(2.0 ** (1 - 8 * layout.width))
        return values.reshape(-1, layout.channels)

    def close(self) -> None:
        """The source closes itself."""


def check_unread(layout: WavLayout) -> None:
    """Raise Refused if a WAV file holds bytes that may be sound and are not heard."""
    position, count = layout.unread
    if layout.repeats:
        raise Refused(
            f"holds a second recording of {count} bytes, which begins at byte {position} and is not heard; "
            "separate the two, or join them as sound"
        )
    if count:
        seconds = f", {count / layout.byte_rate:.2f} s if they are sound" if layout.byte_rate else ""
        raise Refused(
            f"holds {count} bytes from byte {position} on that its header does not account for{seconds}; "
            "save it anew from the program that made it"
        )


def _three_bytes(content: bytes, big_endian: bool) -> np.ndarray:
    """24-bit numbers as float32, in the upper three bytes of 32."""
    wide = np.zeros((len(content) // 3, 4), np.uint8)
    wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)[:, :: -1 if big_endian else 1]
    return wide.view("<i4")[:, 0].astype(np.float32)


@lru_cache(maxsize=2)
def _companding(tag: int) -> np.ndarray:
    """The 256 values of A-law or mu-law (ITU-T G.711), full scale 1."""
    codes = np.arange(256)
    if tag == MULAW:
        codes = ~codes & 0xFF
        exponent, mantissa, positive = codes >> 4 & 7, codes & 15, codes < 128
        values = ((mantissa * 8 + 132) << exponent) - 132
    else:
        codes = codes ^ 0x55
        exponent, mantissa, positive = codes >> 4 & 7, codes & 15, codes >= 128
        values = np.where(exponent > 0, (mantissa * 16 + 264) << np.maximum(exponent - 1, 0), mantissa * 16 + 8)
    return (np.where(positive, values, -values) / 32768.0).astype(np.float32)


def _codec(layout: WavLayout) -> str:
    if layout.tag in (ALAW, MULAW):
        return "pcm_alaw" if layout.tag == ALAW else "pcm_mulaw"
    if layout.tag == FLOAT:
        return f"pcm_f{8 * layout.width}"
    return "pcm_u8" if layout.width == 1 else f"pcm_s{8 * layout.width}"
