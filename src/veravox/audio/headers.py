"""What a file's header promises, where the decoding libraries do not tell."""

from __future__ import annotations

import os
import struct

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
# Writers that do not know the length yet (pipes, crashed recorders) leave 0, all ones, or just under 2 GiB.
UNKNOWN_BYTES = 0x7FFFF000


def stated_bytes(descriptor: int) -> tuple[int, int]:
    """Bytes of sound that the header of a RIFF, RF64, Wave64, CAF or ASF file promises, and those that are there.

    Returns:
        (promised, present); (0, 0) if the file is none of these or states no length.
    """
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, 24, 0)
    if head[:4] == b"riff" and len(head) == 24:
        return int.from_bytes(head[16:24], "little"), size
    if head[:4] == b"caff":
        return _caf_bytes(descriptor, size)
    if head[:4] == ASF_HEADER[:4]:
        beginning = os.pread(descriptor, 8192, 0)
        place = beginning.find(ASF_FILE_PROPERTIES)
        whole = int.from_bytes(beginning[place + 40 : place + 48], "little") if place >= 0 else 0
        return (whole, size) if whole > size else (0, 0)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return _wav_bytes(descriptor, size, ">" if head[:4] == b"RIFX" else "<")
    return 0, 0


def _caf_bytes(descriptor: int, size: int) -> tuple[int, int]:
    position = 8
    while position + 12 <= size:
        name, length = struct.unpack(">4sq", os.pread(descriptor, 12, position))
        if length < 0:
            return 0, 0
        if name == b"data":
            return length, min(length, size - position - 12)
        position += 12 + length
    return 0, 0


def _wav_bytes(descriptor: int, size: int, order: str) -> tuple[int, int]:
    position, long_bytes = 12, None
    while position + 8 <= size:
        name, length = struct.unpack(f"{order}4sI", os.pread(descriptor, 8, position))
        if name == b"ds64":
            sizes = os.pread(descriptor, 16, position + 8)
            long_bytes = struct.unpack(f"{order}QQ", sizes)[1] if len(sizes) == 16 else None
        if name == b"data":
            if length == 0xFFFFFFFF and long_bytes is not None:
                length = long_bytes
            elif length == 0 or length >= UNKNOWN_BYTES:
                return 0, 0
            return length, min(length, size - position - 8)
        position += 8 + length + length % 2
    return 0, 0


def xing_frames(descriptor: int) -> int | None:
    """Frames that an MP3 file says it has (a Xing or Info header in its first frame); None if it does not say."""
    head = os.pread(descriptor, 10, 0)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    frame = os.pread(descriptor, 4096, start)
    for word in (b"Xing", b"Info"):
        place = frame.find(word)
        if place >= 0 and len(frame) >= place + 12:
            flags, frames = struct.unpack(">II", frame[place + 4 : place + 12])
            return int(frames) if flags & 1 else None
    return None


def _last_ogg_page(descriptor: int) -> bytes | None:
    size = os.fstat(descriptor).st_size
    if os.pread(descriptor, 4, 0) != b"OggS":
        return None
    tail = os.pread(descriptor, 1 << 17, max(0, size - (1 << 17)))  # a page has at most 65,307 bytes
    place = tail.rfind(b"OggS\0")
    return tail[place:] if place >= 0 else b""


def ogg_cut(descriptor: int) -> bool:
    """Whether an Ogg file ends inside a page; one cut between two pages cannot be told from a whole one."""
    page = _last_ogg_page(descriptor)
    if page is None:
        return False
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])


def ogg_end(descriptor: int) -> int | None:
    """Position in samples that the last page of an Ogg file states; None if there is none."""
    page = _last_ogg_page(descriptor)
    if not page or len(page) < 14:
        return None
    samples = int.from_bytes(page[6:14], "little", signed=True)
    return samples if samples > 0 else None
