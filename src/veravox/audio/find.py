"""Files, folders and patterns to a list of audio files, each once."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator

from veravox.errors import AudioError

AUDIO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("3g2", "3gp", "aac", "ac3", "aif", "aifc", "aiff", "alac", "amr", "asf", "au", "avi", "awb", "caf"),
        *("eac3", "flac", "flv", "m2ts", "m4a", "m4b", "m4v", "mka", "mkv", "mov", "mp2", "mp3", "mp4", "mpeg"),
        *("mpg", "mts", "oga", "ogg", "ogv", "opus", "rf64", "snd", "sph", "spx", "tta", "voc", "w64", "wav"),
        *("wave", "webm", "wma", "wmv", "wv"),
    )
)


def find_audio(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """All audio files that the paths name, in the order given, each once.

    A file stays as it was given, whatever its suffix; so does a name that does not exist, whose error comes
    when it is opened. A folder is walked, sorted by name, links followed (a loop once), for files whose suffix
    is in `AUDIO_SUFFIXES` in any case; other files there are not audio, and hidden files and folders (a dot in
    front, as macOS writes `._*`) are passed over. A name with `*`, `?` or `[...]` that is no file is expanded,
    `**` through folders. Two names of one file (through a link, or a folder and itself) count once, as first
    named.

    Raises:
        AudioError: if a folder holds no audio or may not be listed, or a pattern matches nothing.
    """
    found: dict[str, str] = {}  # real path to the name given
    for path in paths:
        for name in _expand(os.fsdecode(os.fspath(path))):
            found.setdefault(os.path.realpath(name), name)
    return list(found.values())


def _expand(path: str) -> Iterator[str]:
    if os.path.isdir(path):
        yield from _walk(path)
    elif os.path.lexists(path) or not glob.has_magic(path):
        yield path
    else:
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise AudioError(f"the pattern {path!r} matches no file; check it, or quote it differently")
        for match in matches:
            if not os.path.isdir(match):
                yield match
            elif not _is_recursive(path):
                yield from _walk(match)


def _is_recursive(pattern: str) -> bool:
    return "**" in pattern.replace(os.sep, "/").split("/")


def _walk(folder: str) -> Iterator[str]:
    """Audio files under a folder, sorted; each real folder is entered once."""
    seen = {os.path.realpath(folder)}
    count = 0
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        kept = []
        for name in sorted(folders):
            real = os.path.realpath(os.path.join(root, name))
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        for name in sorted(files):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES:
                count += 1
                yield os.path.join(root, name)
    if not count:
        raise AudioError(
            f"the folder {folder!r} holds no audio file (by suffix, such as .wav or .flac); name files themselves"
        )


def _refuse(error: OSError) -> None:
    raise AudioError(f"the folder {error.filename!r} cannot be listed: {error.strerror}; change its mode or owner")
