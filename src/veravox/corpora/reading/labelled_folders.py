"""Folders whose names are labels (`real`, `fake`, ...), at the top or below folders named for splits."""

from __future__ import annotations

import os
from pathlib import Path

from veravox.corpora.reading.assemble import SPLIT_NAMES
from veravox.corpora.reading.listing import is_audio_name
from veravox.tables import LABEL_ALIASES


def label_folders(root: Path) -> dict[str, tuple[str | None, str]]:
    """Relative folder to its split and label; empty unless both labels are there, side by side."""
    here = _labelled(root)
    if here:
        return {name: (None, label) for name, label in here.items()}
    found: dict[str, tuple[str | None, str]] = {}
    for name in _names(root):
        split = SPLIT_NAMES.get(name.lower())
        if split is not None:
            below = _labelled(root / name)
            found.update({f"{name}/{folder}": (split, label) for folder, label in below.items()})
    return found


def _labelled(folder: Path) -> dict[str, str]:
    labels = {name: LABEL_ALIASES[name.lower()] for name in _names(folder) if name.lower() in LABEL_ALIASES}
    return labels if len(set(labels.values())) == 2 else {}


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.name[0] != "." and entry.is_dir())
    except OSError:
        return []


def holds_audio(folder: Path) -> bool:
    """Whether audio lies in the folder itself."""
    with os.scandir(folder) as entries:
        return any(entry.name[0] != "." and is_audio_name(entry.name) and not entry.is_dir() for entry in entries)


def holds_folders(folder: Path) -> bool:
    """Whether further folders lie in the folder."""
    return bool(_names(folder))
