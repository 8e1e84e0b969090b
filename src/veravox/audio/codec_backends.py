"""Through an encoder and back, in memory: length and alignment kept."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import scipy.fft

from veravox.errors import AugmentationError, suggest

PAD_S = 0.04
"""Silence put behind the input, so that a codec's delay does not cost the end of it."""
PROBE_S = 0.8


@dataclass(frozen=True)
class Format:
    """How one codec is reached: its encoder and decoder, sampling rates and usual bit rates.

    `backend` is `packets` (PyAV, no container), `wav` (PyAV, where a decoder needs the header) or `sndfile`.
    """

    encoder: str
    decoder: str
    rates_hz: tuple[int, ...]
    bit_rates_bps: tuple[int, ...]
    sample_format: str = "s16"
    backend: str = "packets"
    options: Mapping[str, str] = field(default_factory=dict)


MUSIC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

FORMATS: dict[str, Format] = {
    "mp3": Format(
        "libmp3lame",
        "mp3float",
        MUSIC_RATES_HZ,
        (16000, 24000, 32000, 48000, 64000, 128000),
        "fltp",
        options={"compression_level": "7"},
    ),
    "aac": Format(
        "aac", "aac", MUSIC_RATES_HZ, (16000, 24000, 32000, 48000, 64000), "fltp", options={"aac_coder": "fast"}
    ),
    "opus": Format(
        "libopus",
        "libopus",
        (8000, 12000, 16000, 24000, 48000),
        (6000, 8000, 12000, 16000, 24000, 32000),
        "flt",
        options={"compression_level": "3"},
    ),
    "vorbis": Format("VORBIS", "VORBIS", MUSIC_RATES_HZ, (16000, 24000, 32000, 48000, 64000), backend="sndfile"),
    "amr-nb": Format(
        "libopencore_amrnb",
        "libopencore_amrnb",
        (8000,),
        (4750, 5150, 5900, 6700, 7400, 7950, 10200, 12200),
    ),
    "g722": Format("g722", "g722", (16000,), (64000,)),
    "g726": Format("g726", "g726", (8000,), (16000, 24000, 32000, 40000), backend="wav"),
    "gsm": Format("GSM610", "GSM610", (8000,), (13200,), backend="sndfile"),
    "mu-law": Format("pcm_mulaw", "pcm_mulaw", (8000,), (64000,)),
    "a-law": Format("pcm_alaw", "pcm_alaw", (8000,), (64000,)),
}

VORBIS_QUALITIES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
VORBIS_BIT_RATES_BPS = {
    8000: (14300, 16800, 20700, 26300, 31300, 36300),
    12000: (22400, 25900, 30800, 38000, 44600, 51400),
    16000: (24300, 26100, 31800, 42000, 55200, 69800),
    22050: (27400, 28800, 34100, 43200, 56300, 71500),
    44100: (37000, 43400, 46900, 53000, 72600, 116800),
}
"""What mono speech takes at each quality, measured; libsndfile offers qualities, no bit rates."""
LAMBDA_PER_QUALITY = 118
"""FFmpeg's unit of quality for variable bit rates."""


@dataclass(frozen=True)
class RoundTrip:
    """What came back, and the bits it took."""

    waveform: np.ndarray
    bit_rate_bps: float
    codec_rate_hz: int


def is_available(codec: str) -> bool:
    """Whether this installation has the codec's encoder and decoder."""
    form = _format(codec)
    if form.backend == "sndfile":
        import soundfile

        container = "OGG" if codec == "vorbis" else "WAV"
        return form.encoder in soundfile.available_subtypes(container)
    import av

    return form.encoder in av.codecs_available and form.decoder in av.codecs_available


def codec_rate_hz(codec: str, sample_rate_hz: int, bit_rate_bps: int | None = None) -> int:
    """The sampling rate a codec is run at: its highest that is not above the waveform's, else its lowest.

    Vorbis, which cannot reach low bit rates at high sampling rates, is run at the highest where it can.
    """
    rates = _format(codec).rates_hz
    if codec == "vorbis" and bit_rate_bps is not None:
        reached = tuple(rate for rate, costs in VORBIS_BIT_RATES_BPS.items() if costs[0] <= bit_rate_bps)
        rates = reached or rates[:1]
    return max((rate for rate in rates if rate <= sample_rate_hz), default=min(rates))


def round_trip(
    waveform: np.ndarray,
    sample_rate_hz: int,
    codec: str,
    bit_rate_bps: int,
    vbr_quality: int | None = None,
) -> RoundTrip:
    """Encode and decode a waveform in memory.

    The codec's delay is measured once per codec and sampling rate and taken out, so that length and
    alignment are kept. A peak above full scale is scaled down before and up again after, not clipped.

    Args:
        waveform: float32, shape (samples,).
        sample_rate_hz: of the waveform; resampled to what the codec can carry, and back.
        codec: a name in `FORMATS`.
        bit_rate_bps: asked of the encoder; codecs with one rate ignore it, Vorbis comes near it.
        vbr_quality: for mp3 instead of a bit rate, 0 (best) to 9: a variable one.
    Raises:
        AugmentationError: if the codec is unknown, not in this installation, or refuses the input.
    """
    if not is_available(codec):
        raise AugmentationError(f"this installation of PyAV or libsndfile has no encoder for {codec!r}")
    rate_hz = codec_rate_hz(codec, sample_rate_hz, bit_rate_bps)
    peak = max(1.0, float(np.abs(waveform).max()))
    narrow = _resampled(waveform / np.float32(peak) if peak > 1 else waveform, sample_rate_hz, rate_hz)
    if not len(narrow):
        raise AugmentationError(
            f"{len(waveform)} samples at {sample_rate_hz} Hz are none at the {rate_hz} Hz of {codec!r}"
        )
    decoded, bits = _pass(narrow, rate_hz, codec, bit_rate_bps, vbr_quality)
    decoded = _cut(decoded, _delay(codec, rate_hz), len(narrow))
    result = _cut(_resampled(decoded, rate_hz, sample_rate_hz), 0, len(waveform))
    if peak > 1:
        result = result * np.float32(peak)
    return RoundTrip(result, bits * rate_hz / len(narrow), rate_hz)


def _format(codec: str) -> Format:
    if codec not in FORMATS:
        raise AugmentationError(f"unknown codec {codec!r}; {suggest(codec, FORMATS)}")
    return FORMATS[codec]


def _resampled(waveform: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    if from_hz == to_hz:
        return waveform
    import soxr

    return soxr.resample(waveform, from_hz, to_hz, quality="HQ")


def _cut(waveform: np.ndarray, start: int, length: int) -> np.ndarray:
    """`length` samples from `start`, silence where there are none; a negative start puts silence before."""
    if start < 0:
        waveform, start = np.concatenate([np.zeros(-start, np.float32), waveform]), 0
    piece = waveform[start : start + length]
    return piece if len(piece) == length else np.pad(piece, (0, length - len(piece)))


def _pass(
    waveform: np.ndarray, rate_hz: int, codec: str, bit_rate_bps: int, vbr_quality: int | None = None
) -> tuple[np.ndarray, int]:
    """The decoded samples, late by the codec's delay, and the number of bits in between."""
    form = FORMATS[codec]
    padded = np.concatenate([waveform, np.zeros(round(PAD_S * rate_hz), np.float32)])
    return BACKENDS[form.backend](padded, rate_hz, form, bit_rate_bps, vbr_quality)


def _through_packets(
    waveform: np.ndarray, rate_hz: int, form: Format, bit_rate_bps: int, vbr_quality: int | None
) -> tuple[np.ndarray, int]:
    import av

    encoder: Any = av.CodecContext.create(form.encoder, "w")
    encoder.sample_rate, encoder.layout, encoder.format = rate_hz, "mono", form.sample_format
    options = dict(form.options)
    if vbr_quality is None:
        encoder.bit_rate = bit_rate_bps
    else:  # as options: the attributes of the same names lose the quality
        options |= {"flags": "+qscale", "global_quality": str(vbr_quality * LAMBDA_PER_QUALITY)}
    encoder.options, encoder.time_base = options, Fraction(1, rate_hz)
    encoder.open()
    decoder: Any = av.CodecContext.create(form.decoder, "r")
    decoder.sample_rate, decoder.layout = rate_hz, "mono"
    if encoder.extradata:
        decoder.extradata = encoder.extradata
    packets = [*encoder.encode(_frame(waveform, rate_hz, form.sample_format)), *encoder.encode(None)]
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    decoded = _samples(frames)
    decoded_hz = frames[0].sample_rate if frames else rate_hz
    return _resampled(decoded, decoded_hz, rate_hz), 8 * sum(packet.size for packet in packets)


def _through_wav(
    waveform: np.ndarray, rate_hz: int, form: Format, bit_rate_bps: int, vbr_quality: int | None
) -> tuple[np.ndarray, int]:
    import av

    buffer = io.BytesIO()
    writer: Any
    reader: Any
    with av.open(buffer, "w", format="wav") as writer:
        stream = writer.add_stream(form.encoder, rate=rate_hz, layout="mono")
        stream.codec_context.bit_rate = bit_rate_bps
        stream.codec_context.options = {"code_size": str(bit_rate_bps // rate_hz)}
        packets = [*stream.encode(_frame(waveform, rate_hz, form.sample_format)), *stream.encode(None)]
        bits = 8 * sum(packet.size for packet in packets)
        writer.mux(packets)
    buffer.seek(0)
    with av.open(buffer) as reader:
        return _samples(list(reader.decode(audio=0))), bits


def _through_sndfile(
    waveform: np.ndarray, rate_hz: int, form: Format, bit_rate_bps: int, vbr_quality: int | None
) -> tuple[np.ndarray, int]:
    import soundfile

    settings: dict[str, Any] = {"format": "WAV", "subtype": form.encoder}
    if form.encoder == "VORBIS":
        nearest = min(VORBIS_BIT_RATES_BPS, key=lambda known: abs(known - rate_hz))
        quality = np.interp(bit_rate_bps, VORBIS_BIT_RATES_BPS[nearest], VORBIS_QUALITIES)
        settings = {"format": "OGG", "subtype": form.encoder, "compression_level": 1 - float(quality)}
    buffer = io.BytesIO()
    soundfile.write(buffer, waveform, rate_hz, **settings)
    bits = 8 * (buffer.tell() - _header_bytes(rate_hz, **settings))
    buffer.seek(0)
    return soundfile.read(buffer, dtype="float32")[0], bits


@functools.cache
def _header_bytes(rate_hz: int, **settings: Any) -> int:
    """What a file of this kind takes before its first sample."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(16, np.float32), rate_hz, **settings)
    return buffer.tell()


BACKENDS: dict[str, Callable[..., tuple[np.ndarray, int]]] = {
    "packets": _through_packets,
    "wav": _through_wav,
    "sndfile": _through_sndfile,
}


def _frame(waveform: np.ndarray, rate_hz: int, sample_format: str) -> Any:
    import av

    if sample_format == "s16":
        waveform = np.rint(np.clip(waveform, -1, 1) * 32767).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(waveform)[None], format=sample_format, layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
    return frame


def _samples(frames: list) -> np.ndarray:
    if not frames:
        raise AugmentationError("the decoder gave no samples back")
    samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    if samples.dtype == np.int16:
        return samples.astype(np.float32) * np.float32(1 / 32767)
    return samples.astype(np.float32, copy=False)


@functools.cache
def _delay(codec: str, rate_hz: int) -> int:
    """Samples by which a codec is late, found once by sending a voice-like probe through it."""
    form = FORMATS[codec]
    probe = _probe(rate_hz)
    decoded, _ = _pass(probe, rate_hz, codec, form.bit_rates_bps[-1])
    return estimate_delay(decoded, probe)


def estimate_delay(late: np.ndarray, early: np.ndarray) -> int:
    """Samples by which `late` follows `early`: the peak of their cross-correlation."""
    size = scipy.fft.next_fast_len(len(late) + len(early), real=True)
    correlation = scipy.fft.irfft(scipy.fft.rfft(late, size) * np.conj(scipy.fft.rfft(early, size)), size)
    lag = int(np.argmax(correlation))
    return lag if lag < size // 2 else lag - size


def _probe(rate_hz: int) -> np.ndarray:
    """Pulses of a gliding pitch through three resonances, with a little noise: what speech codecs expect."""
    import scipy.signal

    rng = np.random.default_rng(7)
    samples = round(PROBE_S * rate_hz)
    time_s = np.arange(samples) / rate_hz
    phase = np.cumsum((110 + 40 * np.sin(2 * np.pi * 1.3 * time_s)) / rate_hz)
    pulses = np.diff(np.floor(phase), prepend=0.0) + 0.01 * rng.standard_normal(samples)
    for centre_hz, width_hz in ((600, 90), (1400, 120), (2600, 200)):
        radius = np.exp(-np.pi * width_hz / rate_hz)
        angle = 2 * np.pi * centre_hz / rate_hz
        pulses = scipy.signal.lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], pulses)
    swell = 0.5 - 0.5 * np.cos(2 * np.pi * 3 * time_s)
    probe = pulses * swell
    return (0.5 * probe / np.abs(probe).max()).astype(np.float32)
