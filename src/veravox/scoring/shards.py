"""Shards of scores joined to the whole, by utterance."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from veravox.errors import ScoringError, first_few
from veravox.files import write_json, write_text
from veravox.scoring.detector import join_scores
from veravox.scoring.output import record_path
from veravox.tables import Protocol, Scores

OF_ONE_SHARD = ("shard", "files_sha256")


def _records(paths: Sequence[str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """The records beside the shards, or none if no shard has one."""
    files = [record_path(path) for path in paths]
    present = [file for file in files if file.is_file()]
    if not present:
        return []
    if len(present) < len(files):
        missing = [str(file) for file in files if not file.is_file()]
        raise ScoringError(f"shards without their record: {first_few(missing)}; keep NAME.run.json beside NAME")
    return [_record(file) for file in files]


def _record(file: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if [type(number) for number in (*record["shard"], record["trials"])] == [int, int, int]:
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise ScoringError(f"{str(file)!r} is no record of a scoring run; score that shard again")


def _check_records(records: Sequence[dict[str, Any]], paths: Sequence[str | os.PathLike[str]]) -> None:
    first = {key: value for key, value in records[0].items() if key not in OF_ONE_SHARD}
    for record, path in zip(records, paths, strict=True):
        differing = [key for key, value in first.items() if record.get(key) != value]
        if differing:
            raise ScoringError(
                f"{str(path)!r} differs from {str(paths[0])!r} in {', '.join(differing)}; not of one run"
            )
    count = records[0]["shard"][1]
    numbers = [record["shard"][0] for record in records]
    if any(record["shard"][1] != count for record in records):
        raise ScoringError(f"the shards were cut differently: {[tuple(record['shard']) for record in records]}")
    missing = sorted(set(range(1, count + 1)) - set(numbers))
    doubled = sorted({number for number in numbers if numbers.count(number) > 1})
    if missing or doubled:
        parts = [f"missing {first_few(missing)}"] * bool(missing) + [f"doubled {first_few(doubled)}"] * bool(
            doubled
        )
        raise ScoringError(f"shards of {count}: {', '.join(parts)}")


def merge(
    paths: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    protocol: Protocol | None = None,
) -> Scores:
    """Join score files of shards and write the whole.

    Trials come in the order of the shards. Failed trials stay failures.

    Args:
        paths: files as `score_to_file` wrote them, in any order.
        out: .csv, .parquet or .jsonl.
        protocol: checked against, if given: every trial must have a score or a failure.
    Raises:
        ScoringError: for a missing or doubled shard or trial, or shards of different runs.
    """
    records = _records(paths)
    ordered = list(paths)
    if records:
        _check_records(records, paths)
        order = sorted(range(len(paths)), key=lambda index: records[index]["shard"][0])
        ordered = [paths[index] for index in order]
    shards = [Scores.read(path) for path in ordered]
    whole = join_scores(shards, "the merged scores")
    counted = len(whole) + len(whole.failures)
    if records and counted != records[0]["trials"]:
        raise ScoringError(f"the shards hold {counted} trials, the protocol had {records[0]['trials']}")
    if protocol is not None:
        rest = protocol.frame.join(whole.failures.select("utterance_id"), on="utterance_id", how="anti")
        whole.align(protocol.with_frame(rest))
    _write(whole, ordered, out)
    if records:
        record = {key: value for key, value in records[0].items() if key not in OF_ONE_SHARD}
        write_json(record_path(out), record | {"shard": [1, 1]})
    return whole


def _write(whole: Scores, ordered: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]) -> None:
    if all(Path(path).suffix.lower() == ".jsonl" for path in (out, *ordered)):
        write_text(out, "".join(Path(path).read_text(encoding="utf-8") for path in ordered))
    else:
        whole.write(out)
