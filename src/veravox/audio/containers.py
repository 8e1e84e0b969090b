"""What the header of a container promises, and refers to, where FFmpeg does not tell."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

ReadAt = Callable[[int, int], bytes]

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
ASF_BROADCAST = 1
MAX_BOXES = 100_000
PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"dinf")


def stated_bytes(read_at: ReadAt, size: int) -> tuple[int, int]:
    """Bytes that the header of an AVI, CAF, ASF or VOC file promises, and those that are there.

    Returns:
        (promised, present); (0, 0) if the file is none of these or states no length.
    """
    head = read_at(0, 12)
    if head[:4] == b"caff":
        return _caf_bytes(read_at, size)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return _avi_bytes(read_at, size)
    if head == b"Creative Voi":
        return _voc_bytes(read_at, size)
    if head == ASF_HEADER[:12]:
        beginning = read_at(0, 8192)
        place = beginning.find(ASF_FILE_PROPERTIES)
        if place >= 0 and len(beginning) >= place + 92 and not beginning[place + 88] & ASF_BROADCAST:
            return int.from_bytes(beginning[place + 40 : place + 48], "little"), size
    return 0, 0


def caf_frames(read_at: ReadAt, size: int) -> int | None:
    """Samples that the packet table of a CAF file says are sound; None if there is none."""
    for name, position, length in _caf_chunks(read_at, size):
        if name == b"pakt" and length >= 24:
            frames = struct.unpack(">qqii", read_at(position, 24))[1]
            return frames if frames > 0 else None
    return None


def _caf_chunks(read_at: ReadAt, size: int) -> Iterator[tuple[bytes, int, int]]:
    position = 8
    for _ in range(MAX_BOXES):
        head = read_at(position, 12)
        if len(head) < 12:
            return
        name, length = struct.unpack(">4sq", head)
        yield name, position + 12, length
        if length < 0:
            return
        position += 12 + length


def _caf_bytes(read_at: ReadAt, size: int) -> tuple[int, int]:
    for name, position, length in _caf_chunks(read_at, size):
        if name == b"data":
            return (0, 0) if length < 0 else (length, min(length, size - position))
    return 0, 0


def _avi_bytes(read_at: ReadAt, size: int) -> tuple[int, int]:
    """The RIFF parts of an AVI file, one after the other."""
    position = 0
    for _ in range(MAX_BOXES):
        head = read_at(position, 12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:12] not in (b"AVI ", b"AVIX"):
            break
        length = int.from_bytes(head[4:8], "little")
        if not 0 < length < 0xFFFFFFFF:
            return 0, 0
        position += 8 + length
    return position, size


def _voc_bytes(read_at: ReadAt, size: int) -> tuple[int, int]:
    """The blocks of a VOC file; the last may leave out the byte that ends them."""
    position = int.from_bytes(read_at(20, 2), "little")
    for _ in range(MAX_BOXES):
        head = read_at(position, 4)
        if len(head) < 4 or head[0] == 0:
            break
        position += 4 + int.from_bytes(head[1:4], "little")
    return position, size


def flac_promise(read_at: ReadAt, position: int = 0) -> tuple[int | None, bytes | None, int]:
    """Samples and MD5 that a FLAC file states (None for each that it does not), and its bits per sample."""
    info = read_at(position, 42)
    if info[:4] != b"fLaC" or len(info) < 42:
        return None, None, 0
    packed = int.from_bytes(info[18:26], "big")
    md5 = info[26:42]
    return (packed & (1 << 36) - 1) or None, md5 if any(md5) else None, (packed >> 36 & 31) + 1


def xing_frames(read_at: ReadAt) -> int | None:
    """Frames that an MP3 file says it has (a Xing or Info header in its first frame); None if it does not say."""
    head = read_at(0, 10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    frame = read_at(start, 4096)
    for word in (b"Xing", b"Info"):
        place = frame.find(word)
        if place >= 0 and len(frame) >= place + 12:
            flags, frames = struct.unpack(">II", frame[place + 4 : place + 12])
            return int(frames) if flags & 1 else None
    return None


def box_fault(read_at: ReadAt, size: int) -> tuple[str | None, int | None]:
    """What makes an MP4 or QuickTime file no whole recording by itself.

    Returns:
        The address of another file that holds its sound (None if there is none), and the byte at which a second
        recording begins (None if none does).
    """
    address: str | None = None
    begin, whole = 0, False
    for name, start, end in _boxes(read_at, 0, size):
        if name == b"ftyp":
            begin = start - 8
        if name == b"moov":
            if whole:
                return address, begin
            whole = True
            address = address or _data_reference(read_at, start, end)
    return address, None


def _boxes(read_at: ReadAt, position: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, first byte and end of the content of each box between two positions."""
    for _ in range(MAX_BOXES):
        head = read_at(position, 16)
        if position + 8 > end or len(head) < 8:
            return
        length, name = struct.unpack(">I4s", head[:8])
        header = 8
        if length == 1 and len(head) == 16:
            length, header = int.from_bytes(head[8:], "big"), 16
        elif length == 0:
            length = end - position
        if length < header:
            return
        yield name, position + header, min(position + length, end)
        position += length


def _data_reference(read_at: ReadAt, start: int, end: int) -> str | None:
    """The first data reference below a box that is not the file itself."""
    for name, first, last in _boxes(read_at, start, end):
        if name in PARENTS:
            found = _data_reference(read_at, first, last)
            if found:
                return found
        elif name == b"dref":
            for kind, own, own_end in _boxes(read_at, first + 8, last):
                content = read_at(own, min(own_end - own, 4 + 1024))
                if kind in (b"url ", b"urn ", b"alis", b"rsrc") and len(content) > 5 and not content[3] & 1:
                    return content[4:].split(b"\0")[0].decode("latin-1") or kind.decode("latin-1")
    return None
