"""Open every recording of a protocol once: is it whole, how long, what is in it, which others equal it."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from veravox.audio.decode import open_audio
from veravox.corpora.checking.fingerprint import HEARD_S, SAMPLE_RATE_HZ, fingerprint
from veravox.errors import AudioError, CorpusError
from veravox.files import whole_file
from veravox.tables import Protocol, table_text

CACHE_EVERY_S = 20.0
BATCH = 16
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


def look_into(file: str) -> Recording:
    """Decode one file, and measure it."""
    found = Recording(file)
    try:
        status = os.stat(file)
        found.size_bytes, found.modified_ns = status.st_size, status.st_mtime_ns
        with open_audio(file, SAMPLE_RATE_HZ) as stream:
            digest, samples, peak = hashlib.blake2b(digest_size=16), 0, 0.0
            heard: list[np.ndarray] = []
            for block in stream:
                digest.update(np.rint(np.clip(block, -1.0, 1.0) * 32767.0).astype("<i2").data)
                if samples < HEARD_S * SAMPLE_RATE_HZ:
                    heard.append(block)
                samples += len(block)
                peak = max(peak, float(np.abs(block).max(initial=0.0)))
            info = stream.info
        found.duration_s = samples / SAMPLE_RATE_HZ
        found.sample_rate_hz, found.channels = info.sample_rate_hz, info.channels
        found.codec, found.container = info.codec, info.container
        found.peak, found.content_hash = peak, digest.hexdigest()
        if heard:
            found.codes, found.frames = fingerprint(np.concatenate(heard))
    except AudioError as error:
        found.error = str(error)
    except OSError as error:
        found.error = f"{file!r} cannot be opened: {error.strerror or error}"
    return found


def scan(
    protocol: Protocol,
    cache: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda files: None,
) -> pl.DataFrame:
    """Open every recording of a protocol; those in the cache that have not changed since are not opened again.

    A file that cannot be read is a row with its `error`. The cache is written whole every 20 s and at the end,
    also after Ctrl-C, so that the next run goes on from there.

    Args:
        protocol: with `path`.
        cache: a .parquet file; nothing is kept if None.
        workers: processes; one per core if None. Each decodes with one thread.
        progress: is told how many files are done.
    Returns:
        One row a trial, in the protocol's order: `utterance_id` and the columns of `Recording`.
    Raises:
        CorpusError: if the cache is a file of another kind.
    """
    paths = protocol.audio_paths()
    known = _read_cache(cache)
    absolute = [os.path.abspath(path) for path in paths]
    names = {path: table_text(path) for path in absolute}
    fresh, stale = _unchanged(names, known)
    progress(len(names) - len(stale))
    rows: list[Recording] = []
    try:
        saved = time.monotonic()
        for recordings in _in_parallel(stale, workers or _cores()):
            for recording in recordings:
                recording.file = names[recording.file]
            rows += recordings
            progress(len(recordings))
            if cache is not None and time.monotonic() - saved > CACHE_EVERY_S:
                _write_cache(cache, known, rows)
                saved = time.monotonic()
    finally:
        if cache is not None and rows:
            _write_cache(cache, known, rows)
    table = pl.concat([fresh, _frame(rows)])
    trials = pl.DataFrame(
        {"utterance_id": protocol.utterance_ids, "file": [names[path] for path in absolute]},
        schema={"utterance_id": pl.String, "file": pl.String},
    )
    return trials.join(table, on="file", how="left", maintain_order="left")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_parallel(files: Sequence[str], workers: int) -> Iterator[list[Recording]]:
    """Recordings in the order of the files, a batch at a time, with a bounded number of batches under way."""
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    if workers == 1 or len(files) < FEW_FILES:
        for batch in batches:
            yield [look_into(file) for file in batch]
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _one_thread)
    try:
        under_way: deque[Future[list[Recording]]] = deque()
        for batch in batches:
            under_way.append(pool.submit(_look_into_all, batch))
            if len(under_way) >= 4 * workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool as error:
        raise CorpusError(
            "a scanning process died; run again with one worker to find the file (in a script, start under "
            "if __name__ == '__main__')"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
        os.environ[name] = "1"


def _look_into_all(files: Sequence[str]) -> list[Recording]:
    return [look_into(file) for file in files]


def _frame(rows: Sequence[Recording]) -> pl.DataFrame:
    columns: dict[str, list[object]] = {name: [] for name in SCHEMA}
    for row in rows:
        for name in SCHEMA:
            columns[name].append(getattr(row, name))
    return pl.DataFrame(columns, schema=SCHEMA)


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


def _read_cache(cache: str | os.PathLike[str] | None) -> pl.DataFrame:
    empty = pl.DataFrame(schema=SCHEMA)
    if cache is None or not Path(cache).exists():
        return empty
    try:
        frame = pl.read_parquet(Path(cache), glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorpusError(f"{str(cache)!r} is no scan cache; delete it, or name another file") from error
    if "version" not in frame.columns or "content_hash" not in frame.columns:
        raise CorpusError(f"{str(cache)!r} is a table, but no scan cache; name another file")
    frame = frame.filter(pl.col("version") == VERSION)
    return frame.select(list(SCHEMA)) if len(frame) else empty


def _write_cache(cache: str | os.PathLike[str], known: pl.DataFrame, rows: Sequence[Recording]) -> None:
    new = _frame(rows)
    kept = known.join(new, on="file", how="anti")
    with whole_file(cache) as temporary:
        pl.concat([kept, new]).write_parquet(temporary)
