"""Scores written to a file in blocks, so that a run that was killed goes on and gives the same file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from veravox import __version__
from veravox.audio import WindowPolicy
from veravox.errors import OutputError, ScoringError
from veravox.files import refuse_other_kinds, whole_file, write_json, write_text
from veravox.models.checkpoint import Checkpoint
from veravox.scoring.detector import BLOCK_TRIALS, join_scores, scores_from_verdicts, verdicts
from veravox.scoring.verdict import SCHEMA, QualityWarning, Verdict
from veravox.tables import Calibration, Protocol, Scores

SUFFIXES = (".csv", ".parquet", ".jsonl")


def run_record(
    checkpoint: Checkpoint,
    protocol: Protocol,
    policy: WindowPolicy,
    batch_size: int,
    calibration: Calibration | None,
    shard: tuple[int, int] = (1, 1),
    prior: float | None = None,
) -> dict[str, Any]:
    """What a score file was made of and by; two runs with equal records give equal files."""
    names = [name for name in ("utterance_id", "path") if name in protocol.frame.columns]
    chosen = calibration or checkpoint.calibration
    return {
        "schema": SCHEMA,
        "veravox": __version__,
        "detector": checkpoint.source,
        "detector_sha256": checkpoint.sha256,
        "policy": str(policy),
        "batch_size": batch_size,
        "calibration": chosen.to_dict() if chosen else None,
        "prior": chosen.prior if chosen and prior is None else prior,
        "trials": len(protocol),
        "trials_sha256": hashlib.sha256(protocol.frame.select(names).write_csv().encode()).hexdigest(),
        "shard": list(shard),
    }


def record_path(out: str | os.PathLike[str]) -> Path:
    """Where the record of a score file lies: NAME.run.json beside it."""
    return Path(out).with_suffix(".run.json")


def _restored(row: dict[str, Any]) -> Verdict:
    row = dict(row)
    row["windows"] = [tuple(window) for window in row["windows"]]
    row["most_spoof_like"] = tuple(row["most_spoof_like"]) if row["most_spoof_like"] else None
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


class _Parts:
    """Finished blocks of a score file, one whole file each, in NAME.parts beside it."""

    def __init__(self, out: Path, record: dict[str, Any], resume: bool) -> None:
        self.folder = out.with_name(out.name + ".parts")
        self.blocks = 0
        own = self.folder / "run.json"
        if resume and own.is_file():
            if _differences(own, record):
                raise ScoringError(
                    f"{str(self.folder)!r} was made with another {_differences(own, record)}; "
                    "repeat the same command, or start without --resume"
                )
            while self._file(self.blocks).is_file():  # a kill may leave a half-written one under another name
                self.blocks += 1
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
            write_json(own, record)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.jsonl"

    def add(self, block: list[Verdict]) -> None:
        lines = [json.dumps(_plain(verdict), allow_nan=False) + "\n" for verdict in block]
        write_text(self._file(self.blocks), "".join(lines))
        self.blocks += 1

    def read(self) -> Iterator[list[Verdict]]:
        """The finished blocks, one in memory at a time."""
        for number in range(self.blocks):
            with self._file(number).open(encoding="utf-8") as lines:
                yield [_restored(json.loads(line)) for line in lines]

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


def _assemble(parts: _Parts, target: Path, experts: Sequence[str], windows: bool) -> Scores:
    """The score file from its blocks: what was read back and what is fresh go the same way."""
    tables = [scores_from_verdicts([], experts, windows)]  # so that an empty shard is a table too
    if target.suffix.lower() == ".jsonl":
        with whole_file(target) as temporary, temporary.open("w", encoding="utf-8") as file:
            for block in parts.read():
                tables.append(scores_from_verdicts(block, experts, windows))
                file.writelines(json.dumps(v.to_dict(windows), allow_nan=False) + "\n" for v in block)
        return join_scores(tables)
    tables += [scores_from_verdicts(block, experts, windows) for block in parts.read()]
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
) -> Scores:
    """Score a protocol (or one shard of it) into a file, block by block.

    Blocks that are finished survive a kill; with `resume` they are not scored again and the file comes out the
    same; a file that is whole is given back as it is, without calls of `on_trial`. Beside the file: NAME.run.json
    says what made it, NAME.failures lists what could not be heard, NAME.windows holds the windows where asked for.

    Args:
        out: .csv, .parquet or .jsonl.
        shard: part I of N of the protocol, from (1, 1).
        on_trial: called with each verdict as it comes, also with those of finished blocks.
    Raises:
        OutputError: for another ending, or if it cannot be written.
        ScoringError: if the finished blocks belong to another run.
    """
    target = Path(out)
    refuse_other_kinds(target)
    if target.suffix.lower() not in SUFFIXES:
        raise OutputError(f"cannot write {str(out)!r}: the ending must be one of {', '.join(SUFFIXES)}")
    record = run_record(checkpoint, protocol, policy, batch_size, calibration, shard, prior)
    part = protocol.shard(*shard)
    whole = _finished(target, record, len(part), windows) if resume else None
    if whole is not None:
        return whole
    parts = _Parts(target, record, resume)
    done = 0
    for finished in parts.read():
        done += len(finished)
        for verdict in finished:
            on_trial(verdict)
    block: list[Verdict] = []
    if done < len(part):
        for verdict in verdicts(
            checkpoint, part, policy, workers, batch_size, calibration, prior, first_trial=done
        ):
            block.append(verdict)
            on_trial(verdict)
            if len(block) == BLOCK_TRIALS or done + len(block) == len(part):
                parts.add(block)
                done, block = done + len(block), []
    scores = _assemble(parts, target, checkpoint.model.expert_names, windows)
    write_json(record_path(target), record)
    parts.remove()
    return scores
