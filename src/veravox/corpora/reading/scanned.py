"""A reading whose audio was opened, and the list of what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from veravox.corpora.checking.scan import scan
from veravox.corpora.reading.outcome import Reading
from veravox.tables import Protocol, write_table

MEASURED = ("duration_s", "sample_rate_hz", "channels", "container", "content_hash")


def scanned(
    reading: Reading,
    cache: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda files: None,
) -> tuple[Protocol, list[dict[str, str]]]:
    """Open the audio that is there.

    Returns:
        The protocol with `duration_s`, `sample_rate_hz`, `channels`, `container` and `content_hash` of each, and
        the trials that cannot be read: `utterance_id`, `path`, `error`.
    """
    frame = reading.protocol.frame
    there = reading.without_missing().protocol
    found = scan(there, cache, workers, progress)
    own = [name for name in MEASURED if name in frame.columns]
    measured = frame.drop(own).join(
        found.select("utterance_id", *MEASURED), on="utterance_id", how="left", maintain_order="left"
    )
    broken = found.filter(pl.col("error").is_not_null()).select("utterance_id", "error")
    listed = broken.join(frame.select("utterance_id", "path"), on="utterance_id", maintain_order="left")
    return reading.protocol.with_frame(measured), listed.select("utterance_id", "path", "error").to_dicts()


def write_problems(
    out: str | os.PathLike[str], reading: Reading, unreadable: Sequence[dict[str, str]]
) -> Path | None:
    """List missing, unreadable and extra audio in OUT.problems.csv; with nothing to list, an old list goes."""
    path = Path(out).with_suffix(".problems.csv")
    rows = [{"problem": "missing", "path": item, "error": None} for item in reading.missing]
    rows += [{"problem": "unreadable", "path": item["path"], "error": item["error"]} for item in unreadable]
    rows += [{"problem": "no trial", "path": item, "error": None} for item in reading.extra]
    if not rows:
        path.unlink(missing_ok=True)
        return None
    schema = {"problem": pl.String, "path": pl.String, "error": pl.String}
    write_table(pl.DataFrame(rows, schema=schema), path)
    return path
