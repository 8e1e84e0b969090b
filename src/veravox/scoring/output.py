"""Scores written to a file in blocks, so that a run that was killed goes on and gives the same file."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from veravox import __version__
from veravox.audio import WindowPolicy
from veravox.errors import OutputError, ScoringError
from veravox.files import claimed, refuse_other_kinds, whole_file, write_json, write_text
from veravox.models.checkpoint import Checkpoint
from veravox.scoring.detector import BLOCK_TRIALS, Channels, join_scores, scores_from_verdicts, verdicts
from veravox.scoring.verdict import SCHEMA, QualityWarning, Verdict
from veravox.tables import Calibration, Protocol, Scores, TrialList

SUFFIXES = (".csv", ".parquet", ".jsonl")


def run_record(
    checkpoint: Checkpoint,
    trials: TrialList,
    policy: WindowPolicy,
    batch_size: int,
    calibration: Calibration | None,
    shard: tuple[int, int] = (1, 1),
    prior: float | None = None,
    channels: Channels = "auto",
) -> dict[str, Any]:
    """What a score file was made of and by; two runs with equal records give equal files."""
    applied = calibration or checkpoint.calibration
    return {
        "schema": SCHEMA,
        "veravox": __version__,
        "detector": checkpoint.source,
        "detector_sha256": checkpoint.sha256,
        "policy": str(policy),
        "of": "speech" if policy.of_speech else "recording",
        "channels": channels,
        "batch_size": batch_size,
        "calibration": applied.to_dict() if applied else None,
        "prior": applied.prior if applied and prior is None else prior,
        "trials": trials.count,
        "trials_sha256": trials.sha256,
        "shard": list(shard),
    }


def record_path(out: str | os.PathLike[str]) -> Path:
    """Where the record of a score file lies: NAME.run.json beside it."""
    return Path(out).with_suffix(".run.json")


def _restored(row: dict[str, Any]) -> Verdict:
    row = dict(row)
    row["windows"] = [tuple(window) for window in row["windows"]]
    row["most_spoof_like"] = tuple(row["most_spoof_like"]) if row["most_spoof_like"] else None
    row["channels"] = [tuple(channel) for channel in row["channels"]]
    row["warnings"] = [QualityWarning(**warning) for warning in row["warnings"]]
    return Verdict(**row)


def _plain(verdict: Verdict) -> dict[str, Any]:
    kept = {name: value for name, value in vars(verdict).items() if name != "quality"}
    return kept | {"warnings": [vars(warning) for warning in verdict.warnings]}


def _differences(path: Path, record: dict[str, Any]) -> str:
    """The names of what a run's record says otherwise, joined; empty if nothing."""
    try:
        theirs = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ScoringError(f"{str(path)!r} is damaged; start without --resume") from error
    return ", ".join(name for name in {**record, **theirs} if theirs.get(name) != record.get(name))


def file_stamps(paths: Sequence[str]) -> np.ndarray:
    """Size in bytes and time of change in nanoseconds of each file, int64, (files, 2); -1 where there is none."""
    stamps = np.full((len(paths), 2), -1, dtype=np.int64)
    for index, path in enumerate(paths):
        with contextlib.suppress(OSError, ValueError):
            status = os.stat(path)
            stamps[index] = status.st_size, status.st_mtime_ns
    return stamps


class _Blocks:
    """Scored blocks of a run, one whole file each, in NAME.parts beside the score file.

    A block counts as finished while all of its recordings have the size and time they had when it was scored.

    Args:
        out: the score file.
        record: what the run is made of and by.
        stamps: of all recordings as they are now, (trials, 2).
        resume: keep the blocks of an earlier run of the same record.
    Raises:
        ScoringError: if the blocks belong to a run of another record.
    """

    def __init__(self, out: Path, record: dict[str, Any], stamps: np.ndarray, resume: bool) -> None:
        self.folder = out.with_name(out.name + ".parts")
        self.stamps = stamps
        self.count = -(-len(stamps) // BLOCK_TRIALS)
        own = self.folder / "run.json"
        if resume and own.is_file():
            differences = _differences(own, record)
            if differences:
                raise ScoringError(
                    f"{str(self.folder)!r} was made with another {differences}; "
                    "repeat the same command, or start without --resume"
                )
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            write_json(own, record)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.jsonl"

    def _stamps(self, number: int) -> list[list[int]]:
        stamps: list[list[int]] = self.stamps[number * BLOCK_TRIALS :][:BLOCK_TRIALS].tolist()
        return stamps

    def write(self, number: int, block: Sequence[Verdict]) -> None:
        rows = [
            _plain(verdict) | {"stamp": stamp} for verdict, stamp in zip(block, self._stamps(number), strict=True)
        ]
        write_text(self._file(number), "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows))

    def read(self, number: int) -> list[Verdict] | None:
        """A finished block; None if it has yet to be scored, or its recordings have changed since."""
        try:
            with self._file(number).open(encoding="utf-8") as lines:
                rows = [json.loads(line) for line in lines]
            stamps = [row.pop("stamp") for row in rows]
            return [_restored(row) for row in rows] if stamps == self._stamps(number) else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def unfinished_from(self, first: int) -> int:
        """One past the last block of the run of unfinished blocks that begins at `first`."""
        last = first + 1
        while last < self.count and self.read(last) is None:
            last += 1
        return last

    def all(self) -> Iterator[list[Verdict]]:
        """Every block, one in memory at a time."""
        for number in range(self.count):
            block = self.read(number)
            if block is None:
                raise ScoringError(f"{str(self._file(number))!r} was changed during the run; score again")
            yield block

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def _finished(target: Path, record: dict[str, Any], trials: int, windows: bool) -> Scores | None:
    """The scores of an earlier run of the very same kind, if it came to its end."""
    own = record_path(target)
    if not (target.is_file() and own.is_file()) or _differences(own, record):
        return None
    scores = Scores.read(target)
    whole = len(scores) + len(scores.failures) == trials and (scores.windows is not None or not windows)
    return scores if whole else None


def _assemble(blocks: _Blocks, target: Path, experts: Sequence[str], windows: bool) -> Scores:
    """The score file from its blocks: what was read back and what is fresh go the same way."""
    tables = [scores_from_verdicts([], experts, windows)]  # so that an empty shard is a table too
    if target.suffix.lower() == ".jsonl":
        with whole_file(target) as temporary, temporary.open("w", encoding="utf-8") as file:
            for block in blocks.all():
                tables.append(scores_from_verdicts(block, experts, windows))
                file.writelines(json.dumps(v.to_dict(windows), allow_nan=False) + "\n" for v in block)
        return join_scores(tables)
    tables += [scores_from_verdicts(block, experts, windows) for block in blocks.all()]
    scores = join_scores(tables)
    scores.write(target)
    return scores


def score_to_file(
    checkpoint: Checkpoint,
    protocol: Protocol,
    out: str | os.PathLike[str],
    policy: WindowPolicy,
    workers: int = 2,
    batch_size: int = 16,
    calibration: Calibration | None = None,
    prior: float | None = None,
    windows: bool = False,
    resume: bool = False,
    shard: tuple[int, int] = (1, 1),
    on_trial: Callable[[Verdict], object] = lambda verdict: None,
    trials: TrialList | None = None,
    channels: Channels = "auto",
) -> Scores:
    """Score a protocol (or one shard of it) into a file, block by block.

    Blocks that are finished survive a kill; with `resume` they are not scored again and the file comes out the
    same, except for blocks with a recording whose size or time has changed: those are scored again. A file that
    is whole is given back as it is, without calls of `on_trial`. While it is written, the file belongs to this
    run alone. Beside it: NAME.run.json says what made it, NAME.failures lists what could not be read,
    NAME.windows holds the windows where asked for.

    Args:
        out: .csv, .parquet or .jsonl.
        shard: part I of N of the protocol, from (1, 1).
        on_trial: called with each verdict as it comes, also with those of finished blocks.
        channels: as for `score`.
        trials: the whole list, where `protocol` holds the trials of the shard alone (see `read_shard`).
    Raises:
        OutputError: for another ending, if it cannot be written, or if another run is writing it.
        ScoringError: if the finished blocks belong to another run.
    """
    target = Path(out)
    refuse_other_kinds(target)
    if target.suffix.lower() not in SUFFIXES:
        raise OutputError(f"cannot write {str(out)!r}: the ending must be one of {', '.join(SUFFIXES)}")
    if trials is None:
        trials, protocol = TrialList.of(protocol), protocol.shard(*shard)
    record = run_record(checkpoint, trials, policy, batch_size, calibration, shard, prior, channels)
    with claimed(target, f"a run over {protocol.name}"):
        stamps = file_stamps(protocol.audio_paths())
        finished = record | {"files_sha256": hashlib.sha256(stamps.tobytes()).hexdigest()}
        scores = _finished(target, finished, len(protocol), windows) if resume else None
        if scores is not None:
            return scores
        blocks = _Blocks(target, record, stamps, resume)
        number = 0
        while number < blocks.count:
            block = blocks.read(number)
            if block is not None:
                for verdict in block:
                    on_trial(verdict)
                number += 1
                continue
            last = blocks.unfinished_from(number)
            run = protocol.with_frame(protocol.frame[number * BLOCK_TRIALS : last * BLOCK_TRIALS])
            scored = verdicts(checkpoint, run, policy, workers, batch_size, calibration, prior, channels=channels)
            while block := _next_block(scored, on_trial):
                blocks.write(number, block)
                number += 1
        scores = _assemble(blocks, target, checkpoint.model.expert_names, windows)
        write_json(record_path(target), finished)
        blocks.remove()
    return scores


def _next_block(scored: Iterator[Verdict], on_trial: Callable[[Verdict], object]) -> list[Verdict]:
    block = []
    for verdict in islice(scored, BLOCK_TRIALS):
        block.append(verdict)
        on_trial(verdict)
    return block
