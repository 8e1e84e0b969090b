"""Recordings that augmentations draw from: a folder or a protocol, read piece by piece."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np

from veravox.errors import AudioError, ConfigurationError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus")


@functools.lru_cache(maxsize=32)
def find_recordings(source: str, label: str | None = None) -> tuple[str, ...]:
    """Audio files of a folder (with all below it) or of a protocol, sorted or in the protocol's order.

    Args:
        source: a folder, or a .csv or .parquet protocol.
        label: only trials of a protocol with this label.
    Raises:
        ConfigurationError: if there is none.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(str(file) for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    elif path.suffix.lower() in (".csv", ".parquet"):
        from veravox.tables import Protocol

        protocol = Protocol.read(path)
        found = (protocol.where(label=label) if label else protocol).audio_paths()
    else:
        raise ConfigurationError(f"{source!r} is neither a folder nor a .csv or .parquet protocol")
    if not found:
        raise ConfigurationError(f"{source!r} holds no recordings ({', '.join(SUFFIXES)})")
    return tuple(found)


def read_recording(path: str | os.PathLike[str], sample_rate_hz: int) -> np.ndarray:
    """A whole recording as mono float32 at a sampling rate, shape (samples,).

    Raises:
        AudioError: if it cannot be read, or is empty.
    """
    return _read(path, sample_rate_hz, 0, -1)


def read_native(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """A whole recording as mono float32 at its own sampling rate, which comes with it.

    Raises:
        AudioError: if it cannot be read, or is empty.
    """
    import soundfile

    try:
        rate_hz = int(soundfile.info(os.fspath(path)).samplerate)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{os.fspath(path)!r} cannot be read: {error}") from error
    return _read(path, rate_hz, 0, -1), rate_hz


def read_piece(
    path: str | os.PathLike[str], samples: int, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    """A random piece of a recording, float32, shape (samples,); a short one is repeated from a random point.

    Raises:
        AudioError: if it cannot be read, or is empty.
    """
    import soundfile

    try:
        info = soundfile.info(os.fspath(path))
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{os.fspath(path)!r} cannot be read: {error}") from error
    needed = int(np.ceil(samples * info.samplerate / sample_rate_hz)) + 1
    if info.frames <= needed:
        whole = _read(path, sample_rate_hz, 0, -1)
        return np.take(whole, np.arange(samples) + rng.integers(len(whole)), mode="wrap")
    start = int(rng.integers(info.frames - needed + 1))
    piece = _read(path, sample_rate_hz, start, needed)
    return np.take(piece, np.arange(samples), mode="wrap")


def _read(path: str | os.PathLike[str], sample_rate_hz: int, start: int, frames: int) -> np.ndarray:
    import soundfile

    try:
        waveform, rate_hz = soundfile.read(
            os.fspath(path), frames=frames, start=start, dtype="float32", always_2d=True
        )
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(f"{os.fspath(path)!r} cannot be read: {error}") from error
    mono = waveform.mean(axis=1) if waveform.shape[1] > 1 else waveform[:, 0]
    if not mono.size:
        raise AudioError(f"{os.fspath(path)!r} holds no samples")
    if rate_hz != sample_rate_hz:
        import soxr

        mono = soxr.resample(mono, rate_hz, sample_rate_hz)
    return np.ascontiguousarray(mono)
