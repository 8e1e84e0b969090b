"""Scores: one row a trial, with failures and window scores beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from veravox.errors import ScoringError, first_few
from veravox.files import write_text
from veravox.tables.files import read_table, write_table
from veravox.tables.protocol import Protocol

GATE_PREFIX, EXPERT_PREFIX = "gate_weight.", "expert_score."
WRITTEN_ID = "written_id"
"""Column of scores whose ids lost an audio ending when they were read: the ids as they were written."""
JSON_SCHEMA = 1
WORST = ("worst_start_s", "worst_end_s", "worst_score")
SCORE_FIELDS: dict[str, type[pl.DataType]] = {
    "utterance_id": pl.String,
    "path": pl.String,
    "score": pl.Float64,
    "verdict": pl.String,
    "p_spoof": pl.Float64,
    "prior": pl.Float64,
    "duration_s": pl.Float64,
    "speech_s": pl.Float64,
    "speech_share": pl.Float64,
    "channels": pl.String,
    "windows": pl.Int64,
    **dict.fromkeys(WORST, pl.Float64),
    "warnings": pl.String,
}
"""The fields of a scored trial, which every form of output has; weights and scores of the experts come after."""
FAILURE_SCHEMA = {"utterance_id": pl.String, "path": pl.String, "error": pl.String}
WINDOW_SCHEMA = {"utterance_id": pl.String, "start_s": pl.Float64, "end_s": pl.Float64, "score": pl.Float64}


class Scores:
    """One row a trial: `utterance_id` and a finite `score`; higher is more bona fide.

    Args:
        frame: `utterance_id`, `score`, and what else is known (`gate_weight.NAME`, `expert_score.NAME`, ...).
        failures: `utterance_id`, `path`, `error` of trials that could not be scored.
        windows: `utterance_id`, `start_s`, `end_s`, `score` of each window, where asked for.
    Raises:
        ScoringError: for a missing column, a doubled id, or a score that is not a finite number.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        failures: pl.DataFrame | None = None,
        windows: pl.DataFrame | None = None,
        name: str = "scores",
    ) -> None:
        for column in ("utterance_id", "score"):
            if column not in frame.columns:
                raise ScoringError(f"{name}: the column {column!r} is missing; found: {', '.join(frame.columns)}")
        try:
            frame = frame.with_columns(pl.col("utterance_id").cast(pl.String), pl.col("score").cast(pl.Float64))
        except pl.exceptions.PolarsError as error:
            raise ScoringError(f"{name}: the column 'score' holds text that is not a number") from error
        ids, values = frame["utterance_id"], frame["score"]
        if ids.null_count():
            raise ScoringError(f"{name}: {ids.null_count()} rows have no utterance_id")
        broken = ids.filter(~values.is_finite().fill_null(False))
        if len(broken):
            raise ScoringError(f"{name}: {len(broken)} scores are not finite, first {first_few(broken)}")
        if ids.n_unique() != len(ids):
            doubled = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
            raise ScoringError(
                f"{name}: {len(doubled)} trials are scored more than once, first {first_few(doubled)}"
            )
        self.frame = frame
        self.failures = failures if failures is not None else pl.DataFrame(schema=FAILURE_SCHEMA)
        self.windows = windows
        self.name = name

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.frame.iter_rows(named=True)

    def __repr__(self) -> str:
        return f"Scores({len(self)} trials, {len(self.failures)} failures)"

    @property
    def experts(self) -> list[str]:
        """Names of the experts whose scores or weights are here."""
        names = [column.removeprefix(EXPERT_PREFIX) for column in self.frame.columns if EXPERT_PREFIX in column]
        weights = [column.removeprefix(GATE_PREFIX) for column in self.frame.columns if GATE_PREFIX in column]
        return list(dict.fromkeys(names + weights))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Scores:
        """Read .csv, .parquet or .jsonl as `write` makes them.

        Raises:
            ScoringError: if the file cannot be read or its rows are wrong.
        """
        if Path(path).suffix.lower() == ".jsonl":
            frame, failures, windows = _read_json_lines(path)
            return cls(_typed(frame), failures, windows, name=str(path))
        frame = read_table(path, ScoringError)
        beside, windows = (cls._beside(path, part) for part in ("failures", "windows"))
        if windows is not None:
            windows = windows.with_columns(pl.col("start_s", "end_s", "score").cast(pl.Float64))
        return cls(_typed(frame), beside, windows, name=str(path))

    @staticmethod
    def _beside(path: str | os.PathLike[str], part: str) -> pl.DataFrame | None:
        file = Path(path)
        beside = file.with_suffix(f".{part}{file.suffix}")
        return read_table(beside, ScoringError) if beside.is_file() else None

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write .csv or .parquet (failures and windows go beside it, to NAME.failures and NAME.windows) or .jsonl.

        Raises:
            OutputError: for another ending, or if it cannot be written.
        """
        file = Path(path)
        if file.suffix.lower() == ".jsonl":
            write_text(file, "".join(json.dumps(row, allow_nan=False) + "\n" for row in self._json_rows()))
            return
        for part, frame in (
            ("windows", self.windows),
            ("failures", self.failures if len(self.failures) else None),
        ):
            beside = file.with_suffix(f".{part}{file.suffix}")
            if frame is not None:
                write_table(frame, beside)
            else:
                beside.unlink(missing_ok=True)  # of an earlier run under this name
        write_table(self.frame, file)

    def _json_rows(self) -> Iterator[dict[str, Any]]:
        """One object a trial, as `veravox score --json` has them; failed trials last."""
        spans: dict[str, list[list[float]]] | None = None
        if self.windows is not None:
            spans = {}
            for name, *span in self.windows.select(*WINDOW_SCHEMA).iter_rows():
                spans.setdefault(name, []).append(span)
        for row in self:
            form = nested(row)
            yield form if spans is None else form | {"window_scores": spans.get(row["utterance_id"], [])}
        for row in self.failures.iter_rows(named=True):
            yield {"schema": JSON_SCHEMA, **row}

    def named_as_in(self, protocol: Protocol) -> Scores:
        """The same scores, each under its id as written (`a.wav`) where the protocol knows that one, not `a`."""
        if WRITTEN_ID not in self.frame.columns:
            return self
        written = pl.col(WRITTEN_ID)
        known = written.is_in(protocol.frame["utterance_id"].implode())
        ids = pl.when(known).then(written).otherwise(pl.col("utterance_id")).alias("utterance_id")
        return Scores(self.frame.with_columns(ids), self.failures, self.windows, self.name)

    def align(self, protocol: Protocol) -> pl.DataFrame:
        """The protocol's rows with their scores, joined by `utterance_id`, in the protocol's order.

        Raises:
            ScoringError: if a trial has no score, or a score has no trial.
        """
        # A protocol may hold the score of another system under the same name.
        trials = protocol.frame.drop([name for name in ("score", "p_spoof") if name in protocol.frame.columns])
        scores = self.named_as_in(protocol).frame
        missing = trials.join(scores, on="utterance_id", how="anti")["utterance_id"]
        if len(missing):
            raise ScoringError(
                f"{len(missing)} trials of {protocol.name!r} have no score, first {first_few(missing)}"
            )
        extra = scores.join(trials, on="utterance_id", how="anti")["utterance_id"]
        if len(extra):
            raise ScoringError(f"{len(extra)} scores have no trial in {protocol.name!r}, first {first_few(extra)}")
        kept = [name for name in scores.columns if name == "utterance_id" or name not in trials.columns]
        return trials.join(scores.select(kept), on="utterance_id", how="left", maintain_order="left")


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """A table of scores with the types that scoring gives its columns; CSV and JSON tell them only in part."""
    kinds: dict[str, type[pl.DataType]] = {
        name: SCORE_FIELDS[name] for name in frame.columns if name in SCORE_FIELDS and name != "score"
    }
    kinds |= {name: pl.Float64 for name in frame.columns if name.startswith((GATE_PREFIX, EXPERT_PREFIX))}
    numbers = [name for name, kind in kinds.items() if kind is not pl.String]
    return frame.with_columns(pl.col(numbers).cast(pl.Float64, strict=False)).cast(kinds)  # type: ignore[arg-type]


def channels_text(channels: Iterable[tuple[int, float, str]]) -> str | None:
    """Number, verdict and score of each channel as one cell; None where there are none."""
    return "; ".join(f"{number} {verdict} {score:+.2f}" for number, score, verdict in channels) or None


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON object of scores as a row with the columns of a table of scores."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key == "worst_10_s":
            flat |= dict(zip(WORST, value or (None, None, None), strict=True))
        elif key == "channels" and isinstance(value, list):
            flat[key] = channels_text(value)
        elif key == "warnings" and isinstance(value, list):
            flat[key] = "; ".join(map(str, value)) or None
        elif key in ("gate_weights", "expert_scores"):
            prefix = GATE_PREFIX if key == "gate_weights" else EXPERT_PREFIX
            flat |= {prefix + name: number for name, number in (value or {}).items()}
        elif key != "schema" and not isinstance(value, dict | list):
            flat[key] = value
    return flat


def nested(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of a table of scores as a JSON object; the inverse of `_flat`."""
    form: dict[str, Any] = {"schema": JSON_SCHEMA}
    groups: dict[str, dict[str, Any]] = {"gate_weights": {}, "expert_scores": {}}
    worst = [row.get(name) for name in WORST]
    for key, value in row.items():
        if key.startswith(GATE_PREFIX):
            groups["gate_weights"][key.removeprefix(GATE_PREFIX)] = value
        elif key.startswith(EXPERT_PREFIX):
            groups["expert_scores"][key.removeprefix(EXPERT_PREFIX)] = value
        elif key == "warnings":
            form[key] = value.split("; ") if value else []
        elif key not in WORST:
            form[key] = value
    if set(WORST) <= set(row):
        form["worst_10_s"] = None if None in worst else worst
    return form | {key: values for key, values in groups.items() if values} | {"error": None}


def _read_json_lines(path: str | os.PathLike[str]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame | None]:
    """Scores, failures and windows of a file of one JSON object a line."""
    scored: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    windows: list[tuple[Any, ...]] = []
    number, with_windows = 0, False
    try:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                number += 1
                row = json.loads(line) if line.strip() else None
                if row is None:
                    continue
                if row.get("error") is not None:
                    failed.append({key: row.get(key) for key in FAILURE_SCHEMA})
                    continue
                with_windows = with_windows or "window_scores" in row
                windows += [(row.get("utterance_id"), *window) for window in row.get("window_scores") or ()]
                scored.append({key: value for key, value in _flat(row).items() if key != "error"})
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ScoringError(f"{str(path)!r} cannot be read at line {max(1, number)}: {error}") from error
    try:
        frame = pl.DataFrame(scored, infer_schema_length=None) if scored else pl.DataFrame(schema=WINDOW_SCHEMA)
        pieces = pl.DataFrame(windows, schema=WINDOW_SCHEMA, orient="row") if with_windows else None
        return frame, pl.DataFrame(failed, schema=FAILURE_SCHEMA), pieces
    except (pl.exceptions.PolarsError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ScoringError(f"{str(path)!r} does not hold scores as veravox writes them: {reason}") from error
