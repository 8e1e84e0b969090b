"""What a file's header promises, where the decoding libraries do not tell."""

from __future__ import annotations

import os
import struct

# Writers that do not know the length yet (pipes, crashed recorders) leave 0, all ones, or just under 2 GiB.
UNKNOWN_BYTES = 0x7FFFF000


def wav_bytes(descriptor: int) -> tuple[int, int]:
    """Bytes of sound that a RIFF or RF64 header promises, and those that are there.

    Returns:
        (promised, present); (0, 0) if the file is no WAV or states no length.
    """
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, 12, 0)
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64") or head[8:] != b"WAVE":
        return 0, 0
    order = ">" if head[:4] == b"RIFX" else "<"
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


def ogg_cut(descriptor: int) -> bool:
    """Whether an Ogg file ends inside a page; one cut between two pages cannot be told from a whole one."""
    size = os.fstat(descriptor).st_size
    if os.pread(descriptor, 4, 0) != b"OggS":
        return False
    tail = os.pread(descriptor, 1 << 17, max(0, size - (1 << 17)))  # a page has at most 65,307 bytes
    page = tail[tail.rfind(b"OggS\0") :] if b"OggS\0" in tail else tail[-26:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return True
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]])
