"""Whether every file of a training can be read, before its first step."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from veravox.audio import read_audio
from veravox.errors import TrainingError, VeravoxError
from veravox.files import write_json
from veravox.models.detector import SAMPLE_RATE_HZ
from veravox.tables import Protocol
from veravox.training.processes import Processes
from veravox.training.track import Progress, no_progress

OnBadFile = Literal["stop", "skip"]

CHECKED_NAME = "checked_files.json"
"""In a run's folder: the files that could be read, with size and time of change, so that resuming is quick."""

NAMED = 10
"""Bad files that an error names; more are counted."""


@dataclass(frozen=True)
class BadFile:
    """A trial whose file cannot be read, and why."""

    utterance_id: str
    path: str
    error: str

    def __str__(self) -> str:
        return f"{self.utterance_id} ({self.error})"


class FileCheck:
    """Reads each file of a training once; what could be read is not read again unless it changed.

    Args:
        workers: threads that read.
        progress: shows files.
        say: takes one line of text at a time.
        processes: this process among those that train together, which share the files out.
    """

    def __init__(
        self,
        workers: int = 2,
        progress: Progress = no_progress,
        say: Callable[[str], None] = print,
        processes: Processes | None = None,
    ) -> None:
        self._workers, self._progress, self._say = max(workers, 1), progress, say
        self._processes = processes or Processes()
        self._readable: dict[str, list[int]] = {}
        self._errors: dict[str, str] = {}

    def remember(self, folder: Path) -> None:
        """Take over what an earlier run of this folder found readable."""
        try:
            self._readable |= json.loads((folder / CHECKED_NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return

    def write(self, folder: Path) -> None:
        """Keep what was found readable, for `remember`."""
        write_json(folder / CHECKED_NAME, self._readable)

    def usable(self, protocol: Protocol, on_bad_file: OnBadFile = "stop") -> tuple[Protocol, list[BadFile]]:
        """The protocol without the trials whose files cannot be read, and these trials.

        Raises:
            TrainingError: if there are any and `on_bad_file` is `stop`; it names them.
        """
        paths = protocol.audio_paths()
        self._read(paths)
        bad = [
            BadFile(name, path, self._errors[path])
            for name, path in zip(protocol.utterance_ids, paths, strict=True)
            if path in self._errors
        ]
        if not bad:
            return protocol, bad
        more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        names = "; ".join(map(str, bad[:NAMED])) + more
        if on_bad_file == "stop":
            raise TrainingError(
                f"{protocol.name}: {len(bad)} of {len(paths)} files cannot be read: {names}. Nothing was trained; "
                "mend them, or leave them out with on_bad_file=skip"
            )
        self._say(
            f"{protocol.name}: {len(bad)} of {len(paths)} trials left out, their files cannot be read: {names}"
        )
        readable = pl.Series([path not in self._errors for path in paths])
        return protocol.with_frame(protocol.frame.filter(readable)), bad

    def _read(self, paths: Iterable[str]) -> None:
        new = [path for path in dict.fromkeys(paths) if path not in self._errors and not self._unchanged(path)]
        if not new:
            return
        errors: dict[str, str | None] = {}
        own = new[self._processes.rank :: self._processes.count]
        with (
            self._progress("checking files", len(own)) as advance,
            ThreadPoolExecutor(self._workers) as pool,
        ):
            for path, error in zip(own, pool.map(_error_of, own), strict=True):
                errors[path] = error
                advance(1)
        for part in self._processes.gather(errors):
            for path, error in part.items():
                if error is None:
                    self._readable[path] = _stamp(path)
                else:
                    self._errors[path] = error

    def _unchanged(self, path: str) -> bool:
        try:
            return self._readable.get(path) == _stamp(path)
        except OSError:
            return False


def _stamp(path: str) -> list[int]:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]


def _error_of(path: str) -> str | None:
    try:
        read_audio(path, SAMPLE_RATE_HZ)
    except VeravoxError as error:
        return str(error)
    return None


__all__ = ["CHECKED_NAME", "BadFile", "FileCheck", "OnBadFile"]
