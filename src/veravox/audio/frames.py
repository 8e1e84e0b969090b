"""How long a frame of MPEG or AC-3 sound is, by its own header."""

from __future__ import annotations

MPEG_KBPS = {  # by (MPEG-1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
MPEG_RATES = (44100, 48000, 32000)
AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)


def frame_bytes(codec: str, head: bytes) -> int | None:
    """Bytes of the frame that begins so; None if the coding is another, or no frame begins so.

    Source:
        ISO/IEC 11172-3, section 2.4.2.3; ETSI TS 102 366, tables 4.13 and E.1.
    """
    if len(head) < 6:
        return None
    if codec in ("mp1", "mp2", "mp3"):
        return _mpeg_bytes(head)
    if codec == "ac3" and head[:2] == b"\x0b\x77":
        rate, size = head[4] >> 6, head[4] & 63
        if rate == 3 or size >= 2 * len(AC3_KBPS):
            return None
        kbps = AC3_KBPS[size // 2]
        return 2 * (2 * kbps, kbps * 320 // 147 + size % 2, 3 * kbps)[rate]
    if codec == "eac3" and head[:2] == b"\x0b\x77":
        return 2 * (((head[2] & 7) << 8 | head[3]) + 1)
    return None


def _mpeg_bytes(head: bytes) -> int | None:
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    index, rate = head[2] >> 4, head[2] >> 2 & 3
    if head[0] != 0xFF or head[1] < 0xE0 or version == 1 or layer == 4 or index in (0, 15) or rate == 3:
        return None
    first = version == 3
    rate_hz = MPEG_RATES[rate] // (1 if first else 2 if version == 2 else 4)
    bits, padding = 1000 * MPEG_KBPS[first, layer][index], head[2] >> 1 & 1
    if layer == 1:
        return (12 * bits // rate_hz + padding) * 4
    return (144 if first or layer == 2 else 72) * bits // rate_hz + padding
