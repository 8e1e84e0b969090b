"""Recordings that augmentations draw from: a folder or a protocol, read piece by piece."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import numpy as np

from veravox.audio.decode import open_audio, read_audio, resample, to_mono
from veravox.audio.find import find_audio
from veravox.audio.wav import is_wav
from veravox.errors import AudioError, ConfigurationError


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
        try:
            found = find_audio([path])
        except AudioError as error:
            raise ConfigurationError(f"{source!r} holds no recordings: {error}") from error
    elif path.suffix.lower() in (".csv", ".parquet"):
        from veravox.tables import Protocol

        protocol = Protocol.read(path)
        found = (protocol.where(label=label) if label else protocol).audio_paths()
    else:
        raise ConfigurationError(f"{source!r} is neither a folder nor a .csv or .parquet protocol")
    if not found:
        raise ConfigurationError(f"{source!r} holds no recordings")
    return tuple(found)


def read_recording(path: str | os.PathLike[str], sample_rate_hz: int) -> np.ndarray:
    """A whole recording as mono float32 at a sampling rate, shape (samples,).

    Raises:
        AudioError: if it cannot be read, or is empty.
    """
    return read_audio(path, sample_rate_hz)


def read_native(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """A whole recording as mono float32 at its own sampling rate, which comes with it.

    Raises:
        AudioError: if it cannot be read, or is empty.
    """
    with open_audio(path) as stream:
        rate_hz = stream.info.sample_rate_hz
    return read_audio(path, rate_hz), rate_hz


def read_piece(
    path: str | os.PathLike[str], samples: int, sample_rate_hz: int, rng: np.random.Generator
) -> np.ndarray:
    """A random piece of a recording, float32, shape (samples,); a short one is repeated from a random point.

    Of WAV and FLAC files, only the piece is decoded; no other kind is given to libsndfile.

    Raises:
        AudioError: if it cannot be read, or is empty.
    """
    import soundfile

    name = os.fspath(path)
    try:
        with open(name, "rb") as start:
            head = start.read(16)
        if not is_wav(head) and head[:4] != b"fLaC":
            raise OSError("a kind that is decoded in a process of its own")
        with soundfile.SoundFile(name) as file:
            needed = int(np.ceil(samples * file.samplerate / sample_rate_hz)) + 1
            if file.seekable() and file.frames > needed:
                file.seek(int(rng.integers(file.frames - needed + 1)))
                piece = to_mono(file.read(needed, dtype="float32", always_2d=True))
                return np.take(resample(piece, file.samplerate, sample_rate_hz), np.arange(samples), mode="wrap")
    except (soundfile.LibsndfileError, OSError):
        pass  # read_audio tries the other decoder, and says what is wrong
    whole = read_audio(path, sample_rate_hz)
    return np.take(whole, np.arange(samples) + rng.integers(len(whole)), mode="wrap")


def write_noise_recordings(folder: Path, count: int = 3) -> str:
    """Write a few short recordings of decaying noise, unless they are there; the folder, for example options."""
    import soundfile

    folder = folder / "noise_recordings"
    for index in range(count):
        path = folder / f"{index}.wav"
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            decay = np.exp(-np.arange(4000) / 800.0)
            noise = np.random.default_rng(index).uniform(-0.5, 0.5, 4000) * decay
            soundfile.write(path, noise.astype(np.float32), 16000)
    return str(folder)
