"""Writes recordings of every kind for the tests, from a waveform."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

# name: (encoder, container, sample rate, channels); what FFmpeg can write here
KINDS = {
    "stereo.mp3": ("libmp3lame", None, 44100, 2),
    "mono.mp3": ("libmp3lame", None, 16000, 1),
    "phone.m4a": ("aac", "ipod", 44100, 2),
    "raw.aac": ("aac", "adts", 44100, 1),
    "note.opus": ("libopus", None, 48000, 1),
    "browser.webm": ("libopus", None, 48000, 2),
    "lossless.mka": ("flac", "matroska", 48000, 1),
    "apple.m4a": ("alac", "ipod", 44100, 2),
    "old.wma": ("wmav2", "asf", 44100, 2),
    "mobile.amr": ("libopencore_amrnb", "amr", 8000, 1),
    "mobile.3gp": ("libopencore_amrnb", "3gp", 8000, 1),
    "film.mp2": ("mp2", None, 48000, 2),
    "disc.ac3": ("ac3", None, 48000, 6),
    "line.flac": ("flac", None, 96000, 2),
}


def speech_like(seconds: float, sample_rate_hz: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Syllables of harmonics with pauses and a little noise: float32, shape (samples, channels)."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    pitch = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * 1.3 * t)) / sample_rate_hz
    voice = sum(np.sin(k * pitch) / k for k in range(1, 25) if k * 145 < sample_rate_hz / 2)
    voice = 0.15 * voice * np.clip(np.sin(2 * np.pi * 2.5 * t), 0, None) ** 0.5
    voice = voice + 1e-4 * rng.standard_normal(len(t))
    return np.repeat(voice[:, None], channels, axis=1).astype(np.float32)


def encode(
    path: Path,
    waveform: np.ndarray,
    codec: str,
    container: str | None,
    sample_rate_hz: int,
    video: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a waveform (samples, channels) with an encoder of FFmpeg, with moving pictures if asked."""
    layout = {1: "mono", 2: "stereo", 6: "5.1", 7: "6.1", 8: "7.1"}[waveform.shape[1]]
    with av.open(str(path), "w", format=container, container_options=options) as out:
        stream = out.add_stream(codec, rate=sample_rate_hz, layout=layout)
        if "flac" not in codec and "pcm" not in codec:
            stream.bit_rate = 12200 if "amr" in codec else 128_000
        pictures = out.add_stream("mpeg4", rate=10, width=64, height=64, pix_fmt="yuv420p") if video else None
        out.start_encoding()
        if pictures is not None:
            for index in range(round(10 * len(waveform) / sample_rate_hz)):
                picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), index % 255, np.uint8), format="rgb24")
                out.mux(pictures.encode(picture))
            out.mux(pictures.encode(None))
        size = stream.codec_context.frame_size or 4096
        resampler = av.AudioResampler(stream.codec_context.format, layout, sample_rate_hz, frame_size=size)
        for start in range(0, len(waveform), 1 << 16):
            part = np.ascontiguousarray(waveform[start : start + (1 << 16)])
            frame = av.AudioFrame.from_ndarray(part.reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate, frame.pts = sample_rate_hz, start
            for piece in resampler.resample(frame):
                out.mux(stream.encode(piece))
        for piece in resampler.resample(None):
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))
    return path


def write_kind(folder: Path, name: str, seconds: float = 2.0) -> Path:
    codec, container, rate, channels = KINDS[name]
    return encode(folder / name, speech_like(seconds, rate, channels), codec, container, rate)
