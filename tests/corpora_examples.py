"""Miniatures of corpora for tests: unpacked examples and tiny recordings."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from veravox.corpora import CORPORA


@functools.cache
def recording(kind: str, seed: int) -> bytes:
    """A fifth of a second of noise as the bytes of a file."""
    noise = np.random.default_rng(seed).uniform(-0.3, 0.3, 3200).astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, noise, 16000, format=kind)
    return buffer.getvalue()


def make_audio(path: Path, seed: int = 0) -> Path:
    """A tiny recording, in the format of the file's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(recording({".mp3": "MP3", ".flac": "FLAC"}.get(path.suffix.lower(), "WAV"), seed))
    return path


def unpack(name: str, root: Path, change: Callable[[str], str] = lambda path: path) -> dict:
    """Write a corpus's example below `root`; return the options that read it."""
    example = CORPORA.facts(name).example
    for path, content in example.files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    for seed, path in enumerate(example.audio):
        make_audio(root / change(path), seed)
    options = dict(example.options)
    for option, companion in example.companions.items():
        folder = root.parent.parent / "companions" / companion
        unpack(companion, folder)
        options[option] = str(folder)
    return options
