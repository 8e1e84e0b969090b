"""Any allowed recording, decoded by FFmpeg through PyAV. Runs in worker processes; see `veravox.audio.worker`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import av
import numpy as np

from veravox.audio.containers import box_fault, caf_frames, flac_promise, stated_bytes, xing_frames
from veravox.audio.frames import frame_bytes
from veravox.audio.kinds import CODECS, CONTAINERS, not_allowed
from veravox.audio.ogg import page_fault
from veravox.audio.readers import BLOCK_FRAMES, SLACK_S, AudioInfo, Refused, Unreadable
from veravox.audio.sources import read_at

# Containers whose stated length is written down by the encoder, not guessed from the bit rate.
STATES_LENGTH = {"aiff", "au", "caf", "flv", "matroska", "mov", "nistsphere", "tta", "voc", "wv"}
NUMBERS = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
SCALE = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
# Codings whose checksums FFmpeg compares when asked; it goes on after a mismatch unless told to stop.
CHECKED = {"flac", "wavpack", "tta", "ac3", "eac3"}
PLANES = 8  # PyAV reads past the end of a frame's planes from here on
# PyAV frees the channel map of an unusual layout with each view of it, and so twice; a view kept frees nothing.
KEPT: list[Any] = []
AAC_FRAMES = (960, 1024, 1920, 2048)
PADDED = 4096  # samples that an encoder may add at the end


class FfmpegReader:
    """The audio track that FFmpeg ranks best; other tracks are passed over.

    Args:
        file: the open file.
        start: first sample to give; the file is decoded up to it.
    """

    def __init__(self, file: IO[bytes], size: int, start: int = 0) -> None:
        self._size, self._start = size, start
        self._read_at = lambda position, count: read_at(file, position, count)
        self._open(file)
        try:
            self._choose_track()
            self._frames = self._skipped = 0
            self._end_s = 0.0
            self._gap: int | None = None
            self._unusual: bool | None = None
            self._bad_at_end = False
            self._last: Any = None
            self._rest = False
            self._lost: av.FFmpegError | None = None
            self._decoded = self._decode()
            # The first frame tells the true rate and channels; a header may halve the rate (HE-AAC).
            self._first: Any = next(self._decoded, None)
            if self._first is None:
                raise Unreadable("the audio track holds no sound that can be decoded")
            self._promised_s, duration_s = self._promise()
            self.info = AudioInfo(
                int(self._first.sample_rate),
                self._channels(self._first),
                duration_s,
                self._codec,
                self._container.format.name,
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            self.close()
            raise Unreadable(_cause(error)) from error
        except Unreadable:
            self.close()
            raise

    def _open(self, file: IO[bytes]) -> None:
        try:
            self._container = av.open(
                _Seekable(file),
                "r",
                metadata_errors="replace",
                io_open=_refuse,
                buffer_size=1 << 17,
                container_options={
                    "protocol_whitelist": "none",
                    "format_whitelist": ",".join(sorted(CONTAINERS)),
                    "err_detect": "crccheck",
                },
            )
        except av.error.ArgumentError as error:
            raise not_allowed("or it is damaged") from error
        except (av.FFmpegError, OSError, ValueError) as error:
            raise Unreadable(_cause(error)) from error

    def _choose_track(self) -> None:
        self._kind = self._container.format.name.partition(",")[0]
        if self._kind == "mov":
            address, self._second = box_fault(self._read_at, self._size)
            if address is not None:
                raise Refused(f"keeps its sound in another file ({address}), which is not opened; name that file")
        self._stream: Any = self._container.streams.best("audio")
        if self._stream is None:
            kinds = {str(stream.type) for stream in self._container.streams}
            if "audio" in kinds:
                raise Unreadable("the header of the audio track is damaged, or states more channels than are read")
            raise Unreadable(f"no audio track, only {', '.join(sorted(kinds)) or 'nothing'}")
        context: Any = self._stream.codec_context
        self._context = context
        if context is None:
            raise Unreadable("the audio track has a coding that is not known")
        self._codec = _codec_name(context.codec)
        if self._codec not in CODECS:
            raise not_allowed(f"{self._codec} in {self._kind}")
        context.thread_count = 1
        if self._codec in CHECKED:
            context.options = {"err_detect": "crccheck+explode"}
        self._promised: int | None = None
        if self._kind == "flac":
            self._promised = flac_promise(self._read_at, self._flac_position())[0]
        if self._kind == "caf":
            if self._codec == "alac":  # its last packet is as short as it is; FFmpeg shortens it once more
                context.flags2 |= av.codec.context.Flags2.skip_manual
            self._promised = caf_frames(self._read_at, self._size)  # in whole packets; the last may be shorter

    def _flac_position(self) -> int:
        head = self._read_at(0, 10)
        if head[:3] == b"ID3" and len(head) == 10:
            return 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
        return 0

    def _promise(self) -> tuple[float | None, float | None]:
        """Seconds that must come, and the stated length; (None, None) where the container only guesses."""
        container, stream, rate = self._container, self._stream, self._first.sample_rate
        own_s = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        whole_s = container.duration / 1e6 if container.duration else None
        if self._promised is not None:
            return None, self._promised / rate  # checked to the sample
        if self._kind == "mp3":
            frames = xing_frames(self._read_at)
            if frames is None:
                return None, None
            frame_s = (1152 if rate >= 32000 else 576) / rate
            # Of the frames, encoder delay and padding (up to about four frames) are no sound.
            return max(0.0, (frames - 4) * frame_s), min(frames * frame_s, own_s or frames * frame_s)
        if self._kind in ("ogg", "asf", "avi", "wav", "w64"):
            return None, own_s or whole_s  # checked by pages or bytes
        if self._kind not in STATES_LENGTH:
            return None, None
        stated_s = whole_s if self._kind in ("matroska", "flv") else own_s or whole_s
        return stated_s, stated_s

    def _packets(self) -> Iterator[Any]:
        """Packets of the audio track; what the container cannot find a packet in may lie behind the last."""
        demuxed = self._container.demux()
        several, longest = len(self._container.streams) > 1, self._kind in ("matroska", "flv")
        while True:
            try:
                packet = next(demuxed)
            except StopIteration:
                return
            except av.error.BlockingIOError:
                break
            except av.FFmpegError as error:
                if not self._frames:
                    raise
                self._lost = error
                break
            if longest and packet.pts is not None:
                self._end_s = max(self._end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if not several or packet.stream is self._stream:
                yield packet
        yield None

    def _decode(self) -> Iterator[Any]:
        """Frames of the audio track; data that cannot be decoded may lie before the first or after the last."""
        bad: Exception | None = None
        first, corrupt, checked = True, -1, self._codec in CHECKED
        flac, ac3 = self._kind == "flac", self._codec in ("ac3", "eac3")
        for packet in self._packets():
            if flac and packet and not first and self._gap is None and (packet.pts or 0) > self._frames:
                self._gap = self._frames
            try:
                had_rest = self._rest
                frames: list[Any] = self._context.decode(self._whole_frame(packet) if ac3 and packet else packet)
                if frames and had_rest:
                    raise Unreadable("damaged data (a frame is lost)")
            except av.FFmpegError as error:
                bad = bad if _is_no_sound(bytes(packet) if packet else b"", self._codec) else error
                continue
            if checked and packet and packet.size and not frames and self._frames:
                bad = bad or Unreadable("a frame is missing or has a wrong checksum")
            if frames and bad is not None and self._frames:
                raise Unreadable(f"damaged data ({_cause(bad)})")
            if frames and first and self._codec.startswith("aac") and frames[0].samples in AAC_FRAMES:
                # The first frame of AAC is the encoder's delay; a container that states it has it left out.
                self._skipped = frames.pop(0).samples
            first = False
            for frame in frames:
                self._frames += frame.samples
                bad = None
                yield frame
            if packet and packet.size:
                self._last = packet
                corrupt = self._frames if packet.is_corrupt else corrupt
        if not self._frames and bad is not None:
            raise Unreadable(f"the audio track holds no sound that can be decoded: {_cause(bad)}")
        whole = frame_bytes(self._codec, bytes(self._last)) if self._last else None
        is_short = whole is not None and self._last is not None and self._last.size < whole
        self._bad_at_end = corrupt == self._frames or bad is not None or self._lost is not None or is_short

    def _whole_frame(self, packet: Any) -> Any:
        """A packet of AC-3 without what lies behind its frame; that is no sound if no further frame comes."""
        content = bytes(packet)
        whole = frame_bytes(self._codec, content)
        if whole is None or whole >= len(content):
            return packet
        self._rest = True
        return av.Packet(content[:whole])

    def planes(self) -> Iterator[np.ndarray]:
        """float32, shape (channels, samples); raises Unreadable where data are damaged or missing."""
        rate, channels = self.info.sample_rate_hz, self.info.channels
        pending: list[np.ndarray] = []
        count, frame, given = 0, self._first, -self._start
        try:
            while frame is not None:
                if frame.sample_rate != rate:
                    raise Unreadable(f"the sample rate changes from {rate} to {frame.sample_rate} Hz on the way")
                pending.append(self._samples(frame, channels))
                count += pending[-1].shape[1]
                if count >= BLOCK_FRAMES:
                    self._check_surplus()
                    yield from self._joined(pending, given)
                    given, pending, count = given + count, [], 0
                frame = next(self._decoded, None)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise Unreadable(_cause(error)) from error
        if pending:
            self._check_surplus()
            yield from self._joined(pending, given)
        self._check_end()

    def blocks(self) -> Iterator[np.ndarray]:
        """As `Reader.blocks`."""
        return (planes.T for planes in self.planes())

    def _joined(self, pending: list[np.ndarray], given: int) -> Iterator[np.ndarray]:
        """The pieces as float32, without what lies before the start or is padding at the end."""
        planes = np.concatenate(pending, axis=1) if len(pending) > 1 else pending[0]
        if planes.dtype != np.float32:
            kind = {"u": "u8", "i": f"s{8 * planes.itemsize}", "f": ""}[planes.dtype.kind]
            wide: np.ndarray = planes.astype(np.float32 if planes.itemsize < 4 or not kind else np.float64)
            if kind:
                wide = (wide - 128.0 if kind == "u8" else wide) * (1.0 / SCALE[kind])
            planes = wide.astype(np.float32, copy=False)
        most = self._most()
        if most is not None and given + planes.shape[1] > most >= given + planes.shape[1] - PADDED:
            planes = planes[:, : max(0, most - given)]
        if given < 0:
            planes = planes[:, -given:]
        if planes.shape[1]:
            yield planes

    def _most(self) -> int | None:
        """Samples after which only an encoder's padding can come."""
        if self._kind == "caf" and self._promised is not None:
            return self._promised - self._start
        if self._kind == "mov" and self._codec.startswith("aac") and self._promised_s is not None:
            return round(self._promised_s * self.info.sample_rate_hz) - self._start
        return None

    def _samples(self, frame: Any, channels: int) -> np.ndarray:
        """Shape (channels, samples), in the frame's own numbers; a view of the frame."""
        own, form = self._channels(frame), frame.format.name
        planar = form[-1] == "p"
        if planar and own >= PLANES:
            frames = av.AudioResampler(format=form[:-1]).resample(frame)
            if len(frames) != 1:
                raise Unreadable(f"{own} channels cannot be put in order")
            frame, form, planar = frames[0], form[:-1], False
        if planar and own > 1:
            data = frame.to_ndarray()
        else:
            samples = frame.samples
            data = np.frombuffer(frame.planes[0], NUMBERS[form.removesuffix("p")], samples * own)
            data = data.reshape(samples, own).T
        if own != channels:  # a change on the way is met by the mean
            data = np.repeat(data.mean(axis=0, keepdims=True).astype(data.dtype), channels, axis=0)
        return data

    def _channels(self, frame: Any) -> int:
        if self._unusual is None:
            self._unusual = "channels (" in frame.layout.name
        if self._unusual:
            KEPT.append(frame.layout)
        return int(frame.layout.nb_channels)

    def _check_end(self) -> None:
        """Raise Unreadable if less came than the file promises, or a checksum does not agree."""
        heard = self._frames
        if self._promised is not None and self._kind == "flac":
            self._check_flac(self._promised)
        missing_s = self._missing_s()
        stated, present = stated_bytes(self._read_at, self._size)
        if missing_s > SLACK_S or stated > present > 0 or (self._promised or 0) - PADDED > heard:
            raise Unreadable("the data end too early")
        if self._kind == "ogg":
            fault = page_fault(self._read_at, self._size)
            if fault:
                raise Unreadable(fault)
        if self._promised_s is None and self._promised is None and self._bad_at_end and self._kind != "ogg":
            raise Unreadable("the data end within a packet")
        if self._kind == "mov" and self._second is not None:
            raise Refused(
                f"holds a second recording, which begins at byte {self._second} and is not heard; separate the two"
            )

    def _check_surplus(self) -> None:
        """Raise Refused as soon as there is clearly more sound than the header states."""
        heard_s, stated_s = self._frames / self.info.sample_rate_hz, self.info.duration_s
        if stated_s and heard_s > 1.1 * stated_s + 0.5 and self._kind not in ("flac", "mp3", "ogg", "avi"):
            raise Refused(f"is damaged: it holds more than the {stated_s:.2f} s of sound that its header states")

    def _check_flac(self, promised: int) -> None:
        rate = self.info.sample_rate_hz
        if self._frames > promised:
            raise Refused(
                f"holds more sound than its header states ({self._frames / rate:.2f} s, not {promised / rate:.2f} "
                "s): two recordings joined, or damage; separate the two, or join them as sound"
            )
        if self._frames < promised:
            at = f" at about {self._gap / rate:.2f} s" if self._gap is not None else ""
            raise Unreadable(f"a frame is missing or has a wrong checksum{at}" if at else "the data end too early")

    def _missing_s(self) -> float:
        if self._promised_s is None:
            return 0.0
        read_s = (self._frames + self._skipped) / self.info.sample_rate_hz
        if self._kind in ("matroska", "flv"):
            read_s = max(read_s, self._end_s)  # the stated length is that of the longest track
        return self._promised_s - read_s

    def close(self) -> None:
        self._container.close()


class _Seekable:
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


def _is_no_sound(packet: bytes, codec: str) -> bool:
    """Whether a packet that cannot be decoded is a tag, zeros, or lacks the mark that begins a frame."""
    if not packet.strip(b"\0") or packet.startswith((b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGIN")):
        return True
    if codec in ("mp3", "mp2", "mp1"):
        return packet[0] != 0xFF or packet[1:2] < b"\xe0"
    if codec in ("ac3", "eac3"):
        return packet[:2] != b"\x0b\x77"
    return codec == "wavpack" and packet[:4] != b"wvpk"


def _codec_name(codec: Any) -> str:
    name = str(getattr(codec, "canonical_name", codec.name))
    return name[:-2] if name.startswith("pcm_") and name.endswith(("le", "be")) else name


def _cause(error: Exception) -> str:
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return " ".join(str(text).removeprefix("Error : ").split()).rstrip(".") or type(error).__name__
