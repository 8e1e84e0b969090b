"""The face that every reader of a recording shows, and what it may raise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

BLOCK_FRAMES = 32768
# A lossy container may state its length a packet or two off.
SLACK_S = 0.1


class Unreadable(Exception):
    """Why a file cannot be decoded, without the file's name."""


class Refused(Unreadable):
    """The same as the end of a sentence that begins with the file's name."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file says of its audio track, before anything is mixed or resampled.

    Attributes:
        sample_rate_hz: of the track, in the file.
        channels: in the file.
        duration_s: as the file states it; None where it states nothing (a live recording, raw AAC, AMR).
        codec: FFmpeg's name without byte order, e.g. `pcm_s16`, `flac`, `aac`, `opus`.
        container: e.g. `wav`, `flac`, `mp3`, `mov,mp4,m4a,3gp,3g2,mj2`, `matroska,webm`.
    """

    sample_rate_hz: int
    channels: int
    duration_s: float | None
    codec: str
    container: str


class Reader(Protocol):
    """One open recording at its own rate: `blocks` once, then `close`."""

    info: AudioInfo

    def blocks(self) -> Iterator[np.ndarray]:
        """float32 blocks, shape (samples, channels); raises Unreadable where data are damaged or missing."""

    def close(self) -> None: ...
