"""Pages of an Ogg file: are all of them there, in order, and with the checksum they state?"""

from __future__ import annotations

import zlib
from collections.abc import Callable

MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
READ_BYTES = 1 << 20
PAGE_BYTES = 27 + 255 + 255 * 255
LAST, FIRST = 4, 2


def checksum(page: bytes) -> int:
    """CRC-32 of Ogg (polynomial 04c11db7, most significant bit first), by way of zlib's mirrored one."""
    crc = zlib.crc32(page.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(MIRRORED), "big")


def page_fault(read_at: Callable[[int, int], bytes], size: int) -> str | None:
    """What is wrong with the pages of an Ogg file, and where; None if nothing is.

    Junk before the first page and behind the last is passed over.
    """
    numbers: dict[bytes, int] = {}  # of the last page, by logical stream
    open_streams: set[bytes] = set()
    position = buffer_start = 0
    buffer = b""
    while position < size:
        if position + PAGE_BYTES > buffer_start + len(buffer) and buffer_start + len(buffer) < size:
            buffer, buffer_start = read_at(position, READ_BYTES), position
        offset = position - buffer_start
        if buffer[offset : offset + 5] != b"OggS\0":
            if numbers and not open_streams:
                return None
            if numbers:
                return f"what lies at byte {position} is no Ogg page"
            found = buffer.find(b"OggS\0", offset)
            if found < 0 and not buffer:
                return "no Ogg page"
            position = buffer_start + (found if found >= 0 else max(offset + 1, len(buffer) - 4))
            continue
        page = _page(buffer, offset)
        if page is None:
            return "the last page is cut"
        if checksum(page[:22] + b"\0\0\0\0" + page[26:]) != int.from_bytes(page[22:26], "little"):
            return f"the Ogg page at byte {position} has a wrong checksum"
        stream, number = page[14:18], int.from_bytes(page[18:22], "little")
        if not page[5] & FIRST and stream in numbers and number != (numbers[stream] + 1) & 0xFFFFFFFF:
            return f"Ogg pages are missing before byte {position}"
        numbers[stream] = number
        (open_streams.discard if page[5] & LAST else open_streams.add)(stream)
        position += len(page)
    if open_streams:
        return (
            "the last Ogg page does not end the recording; if the recorder was interrupted and this is all, "
            "`ffmpeg -i FILE -c copy NEW.ogg` ends it"
        )
    return None


def _page(buffer: bytes, offset: int) -> bytes | None:
    """One page; None if the buffer ends within it."""
    if offset + 27 > len(buffer):
        return None
    segments = buffer[offset + 26]
    end = offset + 27 + segments + sum(buffer[offset + 27 : offset + 27 + segments])
    return buffer[offset:end] if offset + 27 + segments <= len(buffer) and end <= len(buffer) else None
