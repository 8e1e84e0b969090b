"""Open every recording of a protocol once: is it whole, how long, what is in it, which others equal it."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from veravox.audio.decode import open_audio
from veravox.corpora.checking.fingerprint import FINGERPRINT_S, SAMPLE_RATE_HZ, fingerprint
from veravox.corpora.checking.fingerprint_store import FingerprintStore
from veravox.errors import AudioError, CorpusError
from veravox.files import whole_file
from veravox.tables import Protocol, table_text
from veravox.worker_pool import spawn_map

CACHE_EVERY_S = 20.0
CACHE_ROWS = 2048
BATCH = 16
TABLES = 512
FEW_FILES = 400
"""Fewer are read in this process: starting others takes as long."""
VERSION = 1
"""Of what is measured: a cache of another version is read anew."""

SCHEMA: dict[str, Any] = {
    "file": pl.String,
    "size_bytes": pl.Int64,
    "modified_ns": pl.Int64,
    "duration_s": pl.Float64,
    "sample_rate_hz": pl.Int64,
    "channels": pl.Int64,
    "codec": pl.String,
    "container": pl.String,
    "peak": pl.Float64,
    "content_hash": pl.String,
    "codes": pl.List(pl.UInt32),
    "frames": pl.List(pl.UInt16),
    "error": pl.String,
    "version": pl.Int64,
}

FINGERPRINT = ("codes", "frames")


@dataclass
class Recording:
    """What one file holds; of a file that cannot be read, only its `error`.

    Args:
        peak: largest magnitude at 16 kHz, full scale is 1.
        content_hash: of the decoded samples at 16 kHz as 16-bit numbers: the same in any lossless container.
        codes: fingerprint (`checking.fingerprint`), with `frames`.
    """

    file: str
    size_bytes: int = -1
    modified_ns: int = -1
    duration_s: float | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None
    codec: str | None = None
    container: str | None = None
    peak: float | None = None
    content_hash: str | None = None
    codes: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint32))
    frames: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint16))
    error: str | None = None
    version: int = VERSION


def probe_file(file: str) -> Recording:
    """Decode one file, and measure it."""
    recording = Recording(file)
    try:
        status = os.stat(file)
        recording.size_bytes, recording.modified_ns = status.st_size, status.st_mtime_ns
        with open_audio(file, SAMPLE_RATE_HZ) as stream:
            digest, samples, peak = hashlib.blake2b(digest_size=16), 0, 0.0
            beginning: list[np.ndarray] = []
            for block in stream:
                digest.update(np.rint(np.clip(block, -1.0, 1.0) * 32767.0).astype("<i2").data)
                if samples < FINGERPRINT_S * SAMPLE_RATE_HZ:
                    beginning.append(block)
                samples += len(block)
                peak = max(peak, float(np.abs(block).max(initial=0.0)))
            info = stream.info
        recording.duration_s = samples / SAMPLE_RATE_HZ
        recording.sample_rate_hz, recording.channels = info.sample_rate_hz, info.channels
        recording.codec, recording.container = info.codec, info.container
        recording.peak, recording.content_hash = peak, digest.hexdigest()
        if beginning:
            recording.codes, recording.frames = fingerprint(np.concatenate(beginning))
    except AudioError as error:
        recording.error = str(error)
    except OSError as error:
        recording.error = f"{file!r} cannot be opened: {error.strerror or error}"
    return recording


def scan(
    protocol: Protocol,
    cache: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda files: None,
    fingerprints: FingerprintStore | None = None,
) -> pl.DataFrame:
    """Open every recording of a protocol; those in the cache that have not changed since are not opened again.

    A file that cannot be read is a row with its `error`. What was found is kept beside the cache every 20 s and
    joined to it at the end, also after Ctrl-C, so that the next run goes on from there. Fingerprints go to disk as
    they come; memory holds the table that is returned.

    Args:
        protocol: with `path`.
        cache: a .parquet file; nothing is kept if None.
        workers: number of processes; one per core if None. Each decodes with one thread.
        progress: called with the number of files that are done.
        fingerprints: where the fingerprints go; nowhere if None.
    Returns:
        One row a trial, in the protocol's order: `utterance_id`, the columns of `Recording` but for `codes` and
        `frames`, and `fingerprint`, the number in `fingerprints`.
    Raises:
        CorpusError: if the cache is a file of another kind.
    """
    paths = protocol.audio_paths()
    absolute = [os.path.abspath(path) for path in paths]
    names = {path: table_text(path) for path in absolute}
    kept = _Cache(cache)
    fresh, stale = _unchanged(names, kept.read())
    progress(len(names) - len(stale))
    tables = [fresh.join(_stored(kept, fresh, fingerprints), on="file", how="left", maintain_order="left")]
    try:
        for recordings in _in_parallel(stale, workers or _cores()):
            for recording in recordings:
                recording.file = names[recording.file]
            tables.append(_measured(recordings, fingerprints))
            if len(tables) > TABLES:
                tables = [pl.concat(tables)]
            kept.add(recordings)
            progress(len(recordings))
    finally:
        kept.close()
    trials = pl.DataFrame(
        {"utterance_id": protocol.utterance_ids, "file": [names[path] for path in absolute]},
        schema={"utterance_id": pl.String, "file": pl.String},
    )
    return trials.join(pl.concat(tables), on="file", how="left", maintain_order="left")


def _measured(recordings: Sequence[Recording], fingerprints: FingerprintStore | None) -> pl.DataFrame:
    """The rows of some recordings, their fingerprints stored."""
    frame = _frame(recordings, [name for name in SCHEMA if name not in FINGERPRINT])
    numbers = [
        fingerprints.add(recording.codes, recording.frames) if fingerprints is not None else None
        for recording in recordings
    ]
    return frame.with_columns(pl.Series("fingerprint", numbers, dtype=pl.UInt32))


def _stored(cache: _Cache, fresh: pl.DataFrame, fingerprints: FingerprintStore | None) -> pl.DataFrame:
    """The number of each unchanged file's fingerprint, copied from the cache."""
    tables = [pl.DataFrame(schema={"file": pl.String, "fingerprint": pl.UInt32})]
    if fingerprints is not None and len(fresh):
        files = fresh.select("file")
        for rows in cache.fingerprints():
            listed = rows.join(files, on="file", how="semi", maintain_order="left")
            numbers = [
                fingerprints.add(np.asarray(codes, np.uint32), np.asarray(frames, np.uint16))
                for codes, frames in zip(listed["codes"], listed["frames"], strict=True)
            ]
            tables.append(listed.select("file", pl.Series("fingerprint", numbers, dtype=pl.UInt32)))
    return pl.concat(tables)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_parallel(files: Sequence[str], workers: int) -> Iterator[list[Recording]]:
    """Recordings in the order of the files, a batch at a time, with a bounded number of batches under way."""
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    try:
        yield from spawn_map(_probe_files, batches, 1 if len(files) < FEW_FILES else workers)
    except BrokenProcessPool as error:
        raise CorpusError(
            "a scanning process died; run again with one worker to find the file (in a script, start under "
            "if __name__ == '__main__')"
        ) from error


def _probe_files(files: Sequence[str]) -> list[Recording]:
    return [probe_file(file) for file in files]


def _frame(rows: Sequence[Recording], names: Sequence[str] = tuple(SCHEMA)) -> pl.DataFrame:
    columns = {name: [getattr(row, name) for row in rows] for name in names}
    return pl.DataFrame(columns, schema={name: SCHEMA[name] for name in names})


def _unchanged(files: Mapping[str, str], known: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The cache's rows of files with the same size and time, and the files that are not among them."""
    if not len(known):
        return known, list(files)
    states: dict[str, tuple[int, int]] = {}
    for file in files:
        try:
            status = os.stat(file)
            states[file] = (status.st_size, status.st_mtime_ns)
        except OSError:
            states[file] = (-1, -1)
    now = pl.DataFrame(
        {
            "file": list(files.values()),
            "size_bytes": [states[file][0] for file in files],
            "modified_ns": [states[file][1] for file in files],
        },
        schema={name: SCHEMA[name] for name in ("file", "size_bytes", "modified_ns")},
    )
    same = known.join(now.filter(pl.col("size_bytes") >= 0), on=["file", "size_bytes", "modified_ns"], how="semi")
    kept = set(same["file"])
    return same, [file for file, name in files.items() if name not in kept]


class _Cache:
    """A scan on disk: one table, and the parts that a run adds to it, joined when the run ends.

    Args:
        path: of the table; nothing is kept if None.
    Raises:
        CorpusError: if a file of another kind lies there.
    """

    def __init__(self, path: str | os.PathLike[str] | None) -> None:
        self.path = None if path is None else Path(path)
        self.waiting: list[Recording] = []
        self.saved = time.monotonic()
        if self.path is None:
            return
        self.folder = self.path.with_name(self.path.name + ".parts")
        if self.path.exists():
            try:
                columns = pl.scan_parquet(self.path, glob=False).collect_schema().names()
            except (pl.exceptions.PolarsError, OSError) as error:
                raise CorpusError(f"{str(path)!r} is no scan cache; delete it, or name another file") from error
            if "version" not in columns or "content_hash" not in columns:
                raise CorpusError(f"{str(path)!r} is a table, but no scan cache; name another file")
        self.parts = sorted(self.folder.glob("*.parquet"))
        self._join()  # of a run that was killed

    def _rows(self) -> pl.LazyFrame | None:
        if self.path is None or not self.path.exists():
            return None
        return pl.scan_parquet(self.path, glob=False).filter(pl.col("version") == VERSION).select(list(SCHEMA))

    def read(self) -> pl.DataFrame:
        """What is known of each file, without the fingerprints."""
        rows = self._rows()
        return (_frame([]).lazy() if rows is None else rows).drop(FINGERPRINT).collect()

    def fingerprints(self) -> Iterator[pl.DataFrame]:
        """File and fingerprint of every row, some rows at a time."""
        rows = self._rows()
        if rows is None or self.path is None:
            return
        count = int(pl.scan_parquet(self.path, glob=False).select(pl.len()).collect().item())
        for first in range(0, count, CACHE_ROWS):
            part = pl.scan_parquet(self.path, glob=False).slice(first, CACHE_ROWS)
            yield part.filter(pl.col("version") == VERSION).select("file", *FINGERPRINT).collect()

    def add(self, recordings: Sequence[Recording]) -> None:
        """Keep some more, on disk from time to time."""
        if self.path is None:
            return
        self.waiting += recordings
        if len(self.waiting) >= CACHE_ROWS or time.monotonic() - self.saved > CACHE_EVERY_S:
            self._save()

    def _save(self) -> None:
        part = self.folder / f"{len(self.parts):06d}.parquet"
        with whole_file(part) as temporary:
            _frame(self.waiting).write_parquet(temporary)
        self.parts.append(part)
        self.waiting, self.saved = [], time.monotonic()

    def close(self) -> None:
        """Join what was added to the table."""
        if self.path is not None:
            if self.waiting:
                self._save()
            self._join()

    def _join(self) -> None:
        if self.path is None or not self.parts:
            return
        new = pl.concat([pl.scan_parquet(part, glob=False) for part in self.parts]).unique("file", keep="any")
        known = self._rows()
        if known is not None:
            new = pl.concat([known.join(new.select("file"), on="file", how="anti"), new])
        with whole_file(self.path) as temporary:
            new.sink_parquet(temporary, row_group_size=CACHE_ROWS)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.parts = []
