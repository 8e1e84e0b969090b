"""A protocol's audio through every operation of a suite: files, and the protocol that describes them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from veravox.augment.recordings import read_native
from veravox.degradation.suites import suite_operations
from veravox.errors import AugmentationError, ConfigurationError, VeravoxError
from veravox.files import whole_file, write_json
from veravox.tables import Protocol, write_table
from veravox.worker_pool import spawn_map

ORIGINAL = "original"
SETTINGS = "degrade.json"
FAILURE_SCHEMA = {"utterance_id": pl.String, "path": pl.String, "degradation": pl.String, "error": pl.String}


@dataclass(frozen=True)
class Settings:
    """What decides the content of a folder of degraded audio."""

    suite: str
    seed: int
    operations: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One trial and the operations that it goes through."""

    row: dict[str, Any]
    path: str
    folder: str
    settings: Settings


@dataclass
class DegradeResult:
    """What was made.

    Attributes:
        protocol: one row per trial and operation.
        failures: `utterance_id`, `path`, `degradation`, `error` of what could not be made.
        skipped: operations that need something, and what to install.
        made: files written by this run.
        kept: files that an earlier run had written.
    """

    protocol: Protocol
    failures: pl.DataFrame
    skipped: dict[str, str] = field(default_factory=dict)
    made: int = 0
    kept: int = 0


def degrade(
    protocol: Protocol,
    suite: str,
    out: str | os.PathLike[str],
    *,
    operations: Sequence[str] = (),
    seed: int = 0,
    workers: int = 1,
    include_original: bool = False,
    advance: Callable[[int], None] = lambda trials: None,
) -> DegradeResult:
    """Write degraded copies of all trials, and `protocol.csv` with a column `degradation`.

    A file depends on the seed, its utterance and its operation alone: not on order, workers or interruption.
    A second run over the same folder keeps the files that are whole. Each FLAC file carries its operation,
    parameters and seed in its comment; the protocol has them as `degradation_parameters` and `degradation_seed`.

    Args:
        protocol: needs `path`.
        suite: `safe-task2`, `safe-task3` or `silence`.
        out: folder for `audio/`, `protocol.csv`, `failures.csv`, `skipped.json`.
        operations: only these of the suite; all where empty.
        seed: of all draws.
        workers: processes; 1 works in this one.
        include_original: also a row per untouched trial, `degradation` = `original`, pointing to its own file.
        advance: called with the number of trials done.
    Raises:
        ConfigurationError: for an unknown suite or operation, or a folder made with other settings.
        ProtocolError: if `path` is missing.
    """
    chosen = suite_operations(suite, operations)
    skipped = {operation.name: reason for operation in chosen if (reason := operation.missing()) is not None}
    runnable = tuple(operation.name for operation in chosen if operation.name not in skipped)
    settings = Settings(suite, seed, runnable)
    folder = Path(out)
    _claim(folder, settings)
    tasks = [
        Task(row, path, str(folder), settings) for row, path in zip(protocol, protocol.audio_paths(), strict=True)
    ]
    result = DegradeResult(protocol, pl.DataFrame(schema=FAILURE_SCHEMA), skipped)
    done: dict[str, list[dict[str, Any]]] = {}
    failures: dict[str, list[dict[str, Any]]] = {}
    for utterance_id, rows, failed, made in _run(tasks, workers):
        done[utterance_id], failures[utterance_id] = rows, failed
        result.made += made
        result.kept += len(rows) - made
        advance(1)
    order = protocol.utterance_ids
    result.failures = pl.DataFrame([row for name in order for row in failures[name]], schema=FAILURE_SCHEMA)
    rows = [row for name in order for row in done[name]]
    originals = [_original_row(task, folder) for task in tasks] if include_original else []
    result.protocol = Protocol.from_rows([*originals, *rows], name=str(folder / "protocol.csv"), root=folder)
    result.protocol.write(folder / "protocol.csv")
    write_json(folder / "skipped.json", skipped)
    if len(result.failures):
        write_table(result.failures, folder / "failures.csv")
    else:
        (folder / "failures.csv").unlink(missing_ok=True)
    return result


def file_seed(seed: int, operation: str, utterance_id: str) -> int:
    """The seed of one file: `operation(waveform, sample_rate_hz, seed)` makes the same file again."""
    digest = hashlib.sha256(f"{seed}\0{operation}\0{utterance_id}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:6], "big")


def _claim(folder: Path, settings: Settings) -> None:
    """Refuse a folder made with another suite or seed; else note ours."""
    path = folder / SETTINGS
    ours = {"suite": settings.suite, "seed": settings.seed}
    if path.is_file():
        try:
            theirs = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{str(path)!r} is damaged; remove it or choose another folder") from error
        if theirs != ours:
            raise ConfigurationError(f"{str(folder)!r} was made with {theirs}, not {ours}; choose another folder")
    write_json(path, ours)


def _run(tasks: list[Task], workers: int) -> Iterator[tuple[str, list[dict], list[dict], int]]:
    """Results of all tasks, in order."""
    try:
        yield from spawn_map(_work, tasks, workers)
    except BrokenProcessPool as error:
        raise AugmentationError(
            "a worker process died, perhaps for lack of memory; run again with fewer --workers: nothing is lost"
        ) from error


def _work(task: Task) -> tuple[str, list[dict], list[dict], int]:
    """Degrade one trial: its id, protocol rows, failures, and how many files were written."""
    rows: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    utterance_id, made, source = task.row["utterance_id"], 0, None
    for operation in suite_operations(task.settings.suite, task.settings.operations):
        if not task.settings.operations:
            break
        seed = file_seed(task.settings.seed, operation.name, utterance_id)
        target = Path(task.folder) / "audio" / operation.slug / f"{_file_stem(utterance_id)}.flac"
        note = _note_of(target)
        try:
            if note is None or note.get("seed") != seed or note.get("utterance_id") != utterance_id:
                source = source if source is not None else read_native(task.path)
                degraded = operation(*source, seed)
                note = {"operation": operation.name, "utterance_id": utterance_id, "seed": seed}
                note["parameters"] = degraded.parameters
                note["duration_s"] = round(len(degraded.waveform) / degraded.sample_rate_hz, 4)
                _write(target, degraded.waveform, degraded.sample_rate_hz, note)
                made += 1
        except VeravoxError as error:
            failure = {"utterance_id": utterance_id, "path": task.path, "degradation": operation.name}
            failed.append({**failure, "error": str(error)})
            continue
        duration = {"duration_s": str(note["duration_s"])} if "duration_s" in task.row else {}
        rows.append(
            {
                **task.row,
                **duration,
                "utterance_id": f"{utterance_id}@{operation.slug}",
                "path": os.path.relpath(target, task.folder),
                "degradation": operation.name,
                "degraded_from": utterance_id,
                "degradation_seed": seed,
                "degradation_parameters": json.dumps(note["parameters"], allow_nan=False),
            }
        )
    return utterance_id, rows, failed, made


def _original_row(task: Task, folder: Path) -> dict[str, Any]:
    path = os.path.relpath(os.path.abspath(task.path), folder.resolve())
    utterance_id = task.row["utterance_id"]
    return {**task.row, "path": path, "degradation": ORIGINAL, "degraded_from": utterance_id}


def _file_stem(utterance_id: str) -> str:
    """The id as a file name; a hash keeps ids apart whose unusual characters were replaced."""
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", utterance_id)[-80:]
    if plain == utterance_id and not plain.startswith("."):
        return plain
    return f"{plain.lstrip('.')}-{hashlib.sha256(os.fsencode(utterance_id)).hexdigest()[:10]}"


def _write(target: Path, waveform: Any, sample_rate_hz: int, note: dict[str, Any]) -> None:
    """A 16-bit FLAC file that carries its note in its comment."""
    import soundfile

    with (
        whole_file(target) as temporary,
        soundfile.SoundFile(temporary, "w", sample_rate_hz, 1, subtype="PCM_16", format="FLAC") as file,
    ):
        file.comment = json.dumps(note, allow_nan=False)
        file.write(waveform)


def _note_of(path: Path) -> dict[str, Any] | None:
    """What a file says of its making; None if there is no whole file that says so."""
    import soundfile

    if not path.is_file():
        return None
    try:
        with soundfile.SoundFile(path) as file:
            note = json.loads(file.comment)
    except (soundfile.LibsndfileError, ValueError, RuntimeError):
        return None
    return note if isinstance(note, dict) and "parameters" in note else None


__all__ = ["DegradeResult", "Settings", "degrade", "file_seed"]
