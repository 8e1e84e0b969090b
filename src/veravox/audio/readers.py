"""Two libraries that read a recording at its own rate and channel count, behind one small face.

libsndfile (through soundfile) reads WAV and FLAC, FFmpeg (through PyAV) everything else; each stands in where
the other fails. libsndfile is not asked for MP3 and Ogg first: its MP3 decoder writes to the standard error
stream and guesses lengths, and it stops at the first link of a chained Ogg file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol

import av
import numpy as np
import soundfile

from veravox.audio.headers import ogg_end, stated_bytes, xing_frames

BLOCK_FRAMES = 65536
UNKNOWN_FRAMES = 1 << 62
# A lossy container may state its length a packet or two off; a WAV or FLAC file states it exactly.
SLACK_S = 0.1
# Containers whose stated length is written down by the encoder, not guessed from the bit rate.
STATES_LENGTH = {"flac", "wav", "w64", "aiff", "au", "caf", "avi", "asf", "mov", "matroska", "nistsphere", "voc"}
SCALE = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
SOUNDFILE_CODECS = {
    "PCM_S8": "pcm_s8",
    "PCM_U8": "pcm_u8",
    "PCM_16": "pcm_s16",
    "PCM_24": "pcm_s24",
    "PCM_32": "pcm_s32",
    "FLOAT": "pcm_f32",
    "DOUBLE": "pcm_f64",
    "ULAW": "pcm_mulaw",
    "ALAW": "pcm_alaw",
    "MPEG_LAYER_III": "mp3",
}


class Unreadable(Exception):
    """One library's reason for giving up on a file, without the file's name."""


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
    """One open file at its own rate: `blocks` once, then `missing_s`, then `close`."""

    library: str
    info: AudioInfo

    def blocks(self) -> Iterator[np.ndarray]:
        """float32 blocks, shape (samples, channels); raises Unreadable where the data are damaged."""

    def missing_s(self) -> float:
        """After the last block: how many of the promised seconds did not come; 0.0 if nothing is missing."""

    def close(self) -> None: ...


class SoundfileReader:
    """A file read by libsndfile."""

    library = "libsndfile"

    def __init__(self, file: IO[bytes]) -> None:
        try:
            # A descriptor, since a name may hold bytes that are no text, or mislead by its ending.
            self._file = soundfile.SoundFile(file.fileno(), closefd=False)
        except (soundfile.LibsndfileError, TypeError, ValueError) as error:
            raise Unreadable(_cause(error)) from error
        rate, channels = int(self._file.samplerate), int(self._file.channels)
        frames = int(self._file.frames)
        if not frames:
            self.close()
            raise Unreadable("not a single sample")
        self._promised: int | None = frames if frames < UNKNOWN_FRAMES else None
        stated, present = stated_bytes(file.fileno())
        if self._promised is not None and stated > present > 0:
            self._promised = max(self._promised + 1, round(self._promised * stated / present))
        self._frames = 0
        container, subtype = self._file.format.lower(), self._file.subtype
        codec = "flac" if container == "flac" else SOUNDFILE_CODECS.get(subtype, subtype.lower())
        duration_s = None if self._promised is None else self._promised / rate
        self.info = AudioInfo(rate, channels, duration_s, codec, container)

    def blocks(self) -> Iterator[np.ndarray]:
        while True:
            try:
                block = self._file.read(BLOCK_FRAMES, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError) as error:
                raise Unreadable(_cause(error)) from error
            if not len(block):
                return
            self._frames += len(block)
            yield block

    def missing_s(self) -> float:
        missing = 0 if self._promised is None else self._promised - self._frames
        return max(0, missing) / self.info.sample_rate_hz

    def close(self) -> None:
        self._file.close()


class PyavReader:
    """A file read by FFmpeg: the audio track that FFmpeg ranks best; other tracks are passed over."""

    library = "FFmpeg"

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._container = av.open(
                _Source(file),
                "r",
                metadata_errors="replace",
                io_open=_refuse,
                buffer_size=1 << 17,
                container_options={"protocol_whitelist": "none"},
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise Unreadable(_cause(error)) from error
        try:
            self._stream: Any = self._container.streams.best("audio")
            if self._stream is None:
                kinds = sorted({str(stream.type) for stream in self._container.streams})
                raise Unreadable(f"no audio track, only {', '.join(kinds) or 'nothing'}")
            if self._stream.codec_context is None:
                raise Unreadable("the audio track has a coding that is not known")
            self._stream.codec_context.thread_count = 1
            self._end_s = 0.0
            self._next_s: float | None = None
            self._start_s: float | None = None
            self._frames = 0
            self._bad_at_end = False
            self._decoded = self._decode()
            # The first frame tells the true rate and channels; a header may halve the rate (HE-AAC).
            self._first: Any = next(self._decoded, None)
            if self._first is None:
                raise Unreadable("the audio track holds no sound that can be decoded")
            self._promised_s, duration_s = self._promise(file)
            self.info = AudioInfo(
                int(self._first.sample_rate),
                len(self._first.layout.channels),
                duration_s,
                _codec_name(self._stream.codec_context.codec),
                self._container.format.name,
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            raise Unreadable(_cause(error)) from error
        except Unreadable:
            self.close()
            raise

    def _promise(self, file: IO[bytes]) -> tuple[float | None, float | None]:
        """Seconds that must come, and the stated length; (None, None) where the container only guesses."""
        container, stream, rate = self._container, self._stream, self._first.sample_rate
        kind = container.format.name.partition(",")[0]
        own_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        if kind == "mp3":
            frames = xing_frames(file.fileno())
            if frames is None:
                return None, None
            frame_s = (1152 if rate >= 32000 else 576) / rate
            # Of the frames, encoder delay and padding (up to about four frames) are no sound.
            return max(0.0, (frames - 4) * frame_s), min(frames * frame_s, own_s or frames * frame_s)
        if kind == "ogg" and len(container.streams) == 1:
            end = ogg_end(file.fileno())
            if end is None or self._start_s is None:
                return None, None
            end_s = end / (48000 if stream.codec_context.name.endswith("opus") else rate) - self._start_s
            return (end_s, end_s) if end_s > 0 else (None, None)
        if kind not in STATES_LENGTH:
            return None, None
        whole_s = container.duration / 1e6 if container.duration else None
        stated_s = whole_s if kind in ("matroska", "asf", "avi") else own_s or whole_s
        stated, present = stated_bytes(file.fileno())
        if stated_s and stated > present > 0:
            stated_s = max(stated_s, stated_s * stated / present)
        return stated_s, stated_s

    def _decode(self) -> Iterator[Any]:
        """Frames of the audio track; data that cannot be decoded may lie before the first or after the last."""
        stream, bad = self._stream, None
        for packet in self._container.demux():
            if packet.pts is not None and packet.time_base is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base
                self._end_s = max(self._end_s, float(end))
            if packet.stream is not stream:
                continue
            self._check_gap(packet)
            try:
                frames: list[Any] = list(packet.decode())
            except av.FFmpegError as error:
                bad = error
                continue
            if frames and bad is not None and self._frames:
                raise Unreadable(f"damaged data ({_cause(bad)})")
            for frame in frames:
                self._frames += frame.samples
                bad = None
                yield frame
        self._bad_at_end = bad is not None

    def _check_gap(self, packet: Any) -> None:
        """A damaged Ogg page is left out in silence; the time stamps behind it tell."""
        if packet.pts is None or not self._container.format.name.startswith("ogg"):
            return
        start_s = float(packet.pts * packet.time_base)
        self._start_s = start_s if self._start_s is None else self._start_s
        gap_s = start_s - (start_s if self._next_s is None else self._next_s)
        if gap_s > SLACK_S:
            raise Unreadable(f"{gap_s:.2f} s are missing on the way")
        self._next_s = start_s + float((packet.duration or 0) * packet.time_base)

    def blocks(self) -> Iterator[np.ndarray]:
        rate, channels = self.info.sample_rate_hz, self.info.channels
        pending, count, frame = [], 0, self._first
        try:
            while frame is not None:
                if frame.sample_rate != rate:
                    raise Unreadable(f"the sample rate changes from {rate} to {frame.sample_rate} Hz on the way")
                pending.append(_to_float(frame, channels))
                count += len(pending[-1])
                if count >= BLOCK_FRAMES:
                    yield np.concatenate(pending)
                    pending, count = [], 0
                frame = next(self._decoded, None)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise Unreadable(_cause(error)) from error
        if pending:
            yield np.concatenate(pending)

    def missing_s(self) -> float:
        if self._promised_s is None:
            return SLACK_S if self._bad_at_end else 0.0
        read_s = self._frames / self.info.sample_rate_hz
        if self._container.format.name.startswith(("matroska", "asf", "avi")):
            read_s = max(read_s, self._end_s)  # the stated length is that of the longest track
        missing_s = self._promised_s - read_s
        return missing_s if missing_s > SLACK_S else 0.0

    def close(self) -> None:
        self._container.close()


class _Source:
    """A file as FFmpeg may ask for it: a seek out of bounds, in a damaged file, is answered and not raised."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read, self.tell, self._seek = file.read, file.tell, file.seek

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


def _refuse(url: str, flags: int, options: dict) -> Any:
    """Playlists name further files and addresses; none is opened."""
    raise OSError("the file points to other files, which are not opened")


def _to_float(frame: Any, channels: int) -> np.ndarray:
    """float32, shape (samples, channels); a change of the channel count on the way is met by the mean."""
    data = frame.to_ndarray()
    own = len(frame.layout.channels)
    data = data.T if frame.format.is_planar else data.reshape(-1, own)
    kind = frame.format.name.removesuffix("p")
    if kind in SCALE:
        data = data.astype(np.float32 if kind in ("u8", "s16") else np.float64)
        data = (data - 128.0 if kind == "u8" else data) * (1.0 / SCALE[kind])
    data = data.astype(np.float32, copy=False)
    if own != channels:
        data = np.repeat(data.mean(axis=1, keepdims=True), channels, axis=1)
    return data


def _codec_name(codec: Any) -> str:
    name = str(getattr(codec, "canonical_name", codec.name))
    return name[:-2] if name.startswith("pcm_") and name.endswith(("le", "be")) else name


def _cause(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).removeprefix("Error : ").split()).rstrip(".") or type(error).__name__


def libraries_for(file: IO[bytes]) -> list[type[SoundfileReader] | type[PyavReader]]:
    """The readers that may know the file's kind, judged by its first bytes, the better one first."""
    head = os.pread(file.fileno(), 4, 0)
    if head in (b"RIFF", b"RIFX", b"RF64", b"fLaC"):
        return [SoundfileReader, PyavReader]
    if head in (b"FORM", b".snd", b"dns.", b"caff", b"riff", b"NIST", b"Crea", b"OggS"):
        return [PyavReader, SoundfileReader]
    return [PyavReader]
