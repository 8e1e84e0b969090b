"""The nouns that are tables: Protocol, Scores, Segments, and the Calibration that turns logits into scores."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from veravox.errors import OutputError, ProtocolError, ScoringError, VeravoxError, first_few, suggest
from veravox.files import whole_file

BONA_FIDE, SPOOF = "bonafide", "spoof"

LABEL_ALIASES: dict[str, str] = {
    **dict.fromkeys(
        ("bonafide", "bona-fide", "bona fide", "bona_fide", "genuine", "real", "human", "target"), BONA_FIDE
    ),
    **dict.fromkeys(("spoof", "spoofed", "fake", "deepfake", "synthetic"), SPOOF),
}
"""The one table of label spellings found in the wild; anything else is an error."""

PROTOCOL_COLUMNS: tuple[str, ...] = (
    "utterance_id",
    "path",
    "label",
    "attack_id",
    "domain",
    "source_id",
    "speaker_id",
    "text_id",
    "language",
    "codec",
    "degradation",
    "split",
)
"""The columns with a fixed meaning, all text. Further columns pass through."""

TABLE_SUFFIXES = (".csv", ".parquet")
GATE_PREFIX, EXPERT_PREFIX = "gate_weight.", "expert_score."
WRITTEN_ID = "written_id"
"""Column of scores whose ids lost an audio ending when they were read: the ids as they were written."""


def read_table(path: str | os.PathLike[str], error: type[VeravoxError]) -> pl.DataFrame:
    """Read CSV (every column as text, so `007` stays `007`) or Parquet.

    Raises:
        error: of the given type, if the file is absent, unreadable, empty or of another kind.
    """
    file = Path(path)
    if not file.is_file():
        raise error(f"{str(file)!r} does not exist or is not a file")
    try:
        if file.suffix.lower() == ".parquet":
            return pl.read_parquet(readable(file), glob=False)  # `a[1].csv` is a name, not a pattern
        if file.suffix.lower() == ".csv":
            with file.open("rb") as opened:
                if opened.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                    raise error(f"{str(file)!r} is text in UTF-16; save it as CSV in UTF-8")
            frame = pl.read_csv(readable(file), infer_schema=False, null_values=[""], glob=False)
            return _refuse_doubled(frame, file, error)
    except (pl.exceptions.PolarsError, OSError) as problem:
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise error(f"{str(file)!r} cannot be read as a table: {reason}") from problem
    raise error(f"{str(file)!r} is neither .csv nor .parquet")


def readable(file: Path) -> Path | bytes:
    """A file as polars can take it: its content where its name is not UTF-8."""
    return file if table_text(str(file)) == str(file) else file.read_bytes()


def _refuse_doubled(frame: pl.DataFrame, file: Path, error: type[VeravoxError]) -> pl.DataFrame:
    """A table whose first line names no column twice; the reader gives the second one another name."""
    doubled = [name.rpartition("_duplicated_")[0] for name in frame.columns if "_duplicated_" in name]
    wrong = [name for name in doubled if name in frame.columns]
    if wrong:
        raise error(f"{str(file)!r} names the column {wrong[0]!r} twice; rename or remove one of them")
    return frame


def write_table(frame: pl.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write CSV or Parquet, by the ending of `path`; the file appears only when whole.

    Raises:
        OutputError: for another ending, or if it cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise OutputError(f"cannot write {str(path)!r}: the ending must be .csv or .parquet")
    # Through an open file, since a folder's name may not be UTF-8.
    with whole_file(path) as temporary, temporary.open("wb") as target:
        if suffix == ".csv":
            frame.write_csv(target, float_precision=None)
        else:
            frame.write_parquet(target)


def standard_label(value: str) -> str:
    """`bonafide` or `spoof` for any known spelling.

    Raises:
        ProtocolError: for an unknown one.
    """
    label = LABEL_ALIASES.get(value.strip().lower())
    if label is None:
        raise ProtocolError(
            f"unknown label {value!r}; use 'bonafide' or 'spoof' ({suggest(value, LABEL_ALIASES)})"
        )
    return label


def _standard_labels(frame: pl.DataFrame, name: str) -> pl.DataFrame:
    if "label" not in frame.columns:
        return frame
    text = frame["label"].cast(pl.String).str.strip_chars().replace("", None)
    lowered = text.str.to_lowercase()
    labels = lowered.replace_strict(LABEL_ALIASES, default=None, return_dtype=pl.String)
    unknown = text.filter(text.is_not_null() & labels.is_null()).unique(maintain_order=True)
    if len(unknown):
        raise ProtocolError(
            f"{name}: unknown labels {first_few(unknown)}; use 'bonafide' or 'spoof', or leave the cell empty"
        )
    return frame.with_columns(labels.alias("label"))


class Protocol:
    """A checked table, one row a trial. Immutable: every operation gives a new one.

    Args:
        frame: at least `utterance_id`; columns of `PROTOCOL_COLUMNS` become text, others pass through.
        name: what messages call it.
        root: folder that relative paths start from; the current one if None.
        undecodable: table text of a path whose name is not UTF-8, to the path itself.
    Raises:
        ProtocolError: for missing or doubled ids, or unknown labels.
    """

    def __init__(
        self,
        frame: pl.DataFrame,
        name: str = "protocol",
        root: str | os.PathLike[str] | None = None,
        undecodable: Mapping[str, str] | None = None,
    ) -> None:
        if "utterance_id" not in frame.columns:
            raise ProtocolError(
                f"{name}: the column 'utterance_id' is missing; found: {', '.join(frame.columns) or 'no columns'}"
            )
        text = [column for column in PROTOCOL_COLUMNS if column in frame.columns]
        frame = frame.with_columns(pl.col(text).cast(pl.String))
        ids = frame["utterance_id"]
        empty = ids.is_null() | (ids == "")
        if empty.any():
            rows = (empty.arg_true() + 1).to_list()
            raise ProtocolError(f"{name}: rows without utterance_id: {first_few(rows)}")
        if ids.n_unique() != len(ids):
            doubled = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
            raise ProtocolError(f"{name}: utterance_id must be unique; given more than once: {first_few(doubled)}")
        self.frame = _standard_labels(frame, name)
        self.name = name
        self.root = Path(root) if root is not None else None
        self._undecodable = dict(undecodable or {})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Protocol:
        """Read a .csv or .parquet protocol; relative audio paths start from its folder.

        Raises:
            ProtocolError: if the file cannot be read or its rows are wrong.
        """
        return cls(read_table(path, ProtocolError), name=str(path), root=Path(path).parent)

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], name: str = "protocol", **options: Any) -> Protocol:
        """A protocol from dictionaries, one a trial."""
        listed = list(rows)
        columns = list(dict.fromkeys(key for row in listed for key in row)) or ["utterance_id"]
        data = {column: [row.get(column) for row in listed] for column in columns}
        return cls(pl.DataFrame(data, strict=False), name=name, **options)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write .csv or .parquet; relative audio paths are rewritten to start from the new folder."""
        frame = self.frame
        if "path" in frame.columns and self.root is not None:
            here = Path(path).resolve().parent
            if here != self.root.resolve():
                frame = frame.with_columns(pl.Series("path", self._rebased(here), dtype=pl.String))
        write_table(frame, path)

    def _rebased(self, folder: Path) -> list[str | None]:
        assert self.root is not None
        start = os.path.relpath(self.root.resolve(), folder)
        return [
            value if value is None or os.path.isabs(value) else os.path.normpath(os.path.join(start, value))
            for value in self.frame["path"]
        ]

    def __len__(self) -> int:
        return len(self.frame)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.frame.iter_rows(named=True)

    def __repr__(self) -> str:
        return f"Protocol({self.name!r}, {len(self)} trials)"

    @property
    def utterance_ids(self) -> list[str]:
        """The ids, in order."""
        return self.frame["utterance_id"].to_list()

    def require(self, *columns: str) -> None:
        """Check that columns are there and have no empty cell.

        Raises:
            ProtocolError: naming the column, and the first trials without a value.
        """
        for column in columns:
            if column not in self.frame.columns:
                raise ProtocolError(
                    f"{self.name}: the column {column!r} is missing; found: {', '.join(self.frame.columns)}"
                )
            empty = self.frame.filter(pl.col(column).is_null())
            if len(empty):
                raise ProtocolError(
                    f"{self.name}: {len(empty)} trials have no {column}, first {first_few(empty['utterance_id'])}"
                )

    def audio_paths(self) -> list[str]:
        """Where each trial's audio lies, ready to open.

        Raises:
            ProtocolError: if `path` is missing or empty somewhere.
        """
        self.require("path")
        values = [self._undecodable.get(value, value) for value in self.frame["path"]]
        return values if self.root in (None, Path()) else [os.path.join(self.root, value) for value in values]

    def with_frame(self, frame: pl.DataFrame, name: str | None = None) -> Protocol:
        """The same protocol with other rows or columns."""
        return Protocol(frame, name or self.name, self.root, self._undecodable)

    def where(self, /, **columns: str | Sequence[str]) -> Protocol:
        """Only the trials whose columns, read as text, have the given value, or one of the given values."""
        frame = self.frame
        for column, wanted in columns.items():
            if column not in frame.columns:
                raise ProtocolError(f"{self.name} has no column {column!r}; {suggest(column, frame.columns)}")
            values = [wanted] if isinstance(wanted, str) else list(wanted)
            frame = frame.filter(pl.col(column).cast(pl.String).is_in(values))
        return self.with_frame(frame)

    def shard(self, index: int, count: int) -> Protocol:
        """Part `index` (from 1) of `count`: a contiguous, balanced run of trials; all parts make the whole."""
        if not 1 <= index <= count:
            raise ProtocolError(f"shard {index}/{count} does not exist; the first is 1/{count}")
        first, last = (len(self) * (index - 1)) // count, (len(self) * index) // count
        return self.with_frame(self.frame[first:last])


def read_protocol(path: str | os.PathLike[str]) -> Protocol:
    """Read a .csv or .parquet protocol. See `Protocol.read`."""
    return Protocol.read(path)


def table_text(path: str) -> str:
    """A path as text that every table and terminal can hold: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def protocol_from_paths(paths: Iterable[str | os.PathLike[str]]) -> Protocol:
    """A protocol of files: the id of a file is its path as given; a path named twice is one trial."""
    given = list(dict.fromkeys(os.fspath(path) for path in paths))
    shown = [table_text(path) for path in given]
    undecodable = {text: path for text, path in zip(shown, given, strict=True) if text != path}
    frame = pl.DataFrame(
        {"utterance_id": shown, "path": shown}, schema={"utterance_id": pl.String, "path": pl.String}
    )
    return Protocol(frame, name="the given files", root=Path(), undecodable=undecodable)


@dataclass(frozen=True)
class Calibration:
    """What turns a raw logit into a log-likelihood ratio, and that into a verdict.

    score = scale * logit * (t / reference_s) ** growth + offset (natural log, higher is more bona fide); t is the
    speech behind the logit in seconds, held between `shortest_s` and `longest_s`. Evidence grows with speech, but
    less than in proportion, since the errors in one recording's windows are alike.

    Args:
        scale: positive.
        offset: in nats.
        prior: of spoof, assumed when fitting and for `p_spoof`.
        lower: below it the verdict is `spoof`.
        upper: from it on the verdict is `bonafide`; between the two it is `uncertain`.
        policy: the window policy it was fitted under; another one warns.
        fitted_on: the trials it was fitted on, in words.
        rule: how the thresholds were set, in words.
        growth: from 0, where a score is the same however much speech it rests on, to below 1.
        reference_s: seconds of speech at which scale and offset hold as they are.
        shortest_s, longest_s: seconds of speech outside which evidence neither shrinks nor grows.
    """

    scale: float
    offset: float
    prior: float = 0.5
    lower: float = 0.0
    upper: float = 0.0
    policy: str = ""
    fitted_on: str = ""
    rule: str = ""
    growth: float = 0.0
    reference_s: float = 4.0
    shortest_s: float = 1.0
    longest_s: float = 32.0

    def __post_init__(self) -> None:
        numbers = (self.scale, self.offset, self.prior, self.lower, self.upper)
        if not all(map(math.isfinite, numbers)) or self.scale <= 0 or not 0 < self.prior < 1:
            raise ScoringError(f"a calibration needs finite numbers, scale > 0 and 0 < prior < 1; got {self}")
        if self.lower > self.upper:
            raise ScoringError(f"calibration: the lower threshold {self.lower} is above the upper {self.upper}")
        if not 0 <= self.growth < 1 or not 0 < self.shortest_s <= self.reference_s <= self.longest_s < math.inf:
            raise ScoringError(
                "a calibration needs 0 <= growth < 1 and 0 < shortest_s <= reference_s <= longest_s; "
                f"got {self.growth}, {self.shortest_s}, {self.reference_s}, {self.longest_s}"
            )

    def apply(self, logit: float, speech_s: float | None = None) -> float:
        """Log-likelihood ratio of one raw logit, which rests on so much speech; on `reference_s` if unknown."""
        return self.scale * logit * self.evidence(speech_s) + self.offset

    def evidence(self, speech_s: float | None) -> float:
        """What so much speech multiplies a score by; 1 at `reference_s`, or if unknown."""
        if not self.growth or speech_s is None:
            return 1.0
        held = min(max(speech_s, self.shortest_s), self.longest_s)
        return float((held / self.reference_s) ** self.growth)

    def verdict(self, score: float) -> Literal["bonafide", "uncertain", "spoof"]:
        """The verdict of a calibrated score."""
        if score < self.lower:
            return "spoof"
        return "bonafide" if score >= self.upper else "uncertain"

    def p_spoof(self, score: float, prior: float | None = None) -> float:
        """Posterior probability of spoof, given a calibrated score and a prior of spoof."""
        prior = self.prior if prior is None else prior
        log_odds = math.log(prior / (1 - prior)) - score
        return 1 / (1 + math.exp(-log_odds)) if log_odds > -700 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """As plain data; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Read what `to_dict` wrote.

        Raises:
            ScoringError: for missing, unknown or impossible values.
        """
        try:
            return cls(**data)
        except TypeError as error:
            raise ScoringError(f"not a calibration: {error}") from error


SCORE_NUMBERS = ("p_spoof", "prior", "duration_s", "windows", "worst_start_s", "worst_end_s", "worst_score")
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
        """Write .csv or .parquet; failures and windows go beside it, to NAME.failures and NAME.windows."""
        file = Path(path)
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
    numeric = [name for name in frame.columns if name.startswith((GATE_PREFIX, EXPERT_PREFIX))]
    numeric += [name for name in SCORE_NUMBERS if name in frame.columns]
    text = [name for name in ("path", "verdict", "warnings") if name in frame.columns]
    frame = frame.with_columns(pl.col(numeric).cast(pl.Float64, strict=False), pl.col(text).cast(pl.String))
    return frame.with_columns(pl.col("windows").cast(pl.Int64)) if "windows" in numeric else frame


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """One JSON object of scores as a row with the columns of a table of scores."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key == "worst_10_s":
            names = ("worst_start_s", "worst_end_s", "worst_score")
            flat |= dict(zip(names, value or (None, None, None), strict=True))
        elif key == "warnings" and isinstance(value, list):
            flat[key] = "; ".join(map(str, value)) or None
        elif key in ("gate_weights", "expert_scores"):
            prefix = GATE_PREFIX if key == "gate_weights" else EXPERT_PREFIX
            flat |= {prefix + name: number for name, number in (value or {}).items()}
        elif key != "schema" and not isinstance(value, dict | list):
            flat[key] = value
    return flat


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


class Segments:
    """What is fake inside a partly fake utterance: `utterance_id`, `start_s`, `end_s`, `label`.

    Raises:
        ProtocolError: for missing columns, unknown labels, or a segment that ends before it starts.
    """

    def __init__(self, frame: pl.DataFrame, name: str = "segments") -> None:
        for column in ("utterance_id", "start_s", "end_s", "label"):
            if column not in frame.columns:
                raise ProtocolError(f"{name}: the column {column!r} is missing; found: {', '.join(frame.columns)}")
        frame = frame.with_columns(
            pl.col("utterance_id").cast(pl.String), pl.col("start_s", "end_s").cast(pl.Float64)
        )
        wrong = frame.filter(~(pl.col("end_s") > pl.col("start_s")))
        if len(wrong):
            raise ProtocolError(
                f"{name}: segments end before they start, first in {first_few(wrong['utterance_id'])}"
            )
        self.frame = _standard_labels(frame, name)
        self.name = name

    def __len__(self) -> int:
        return len(self.frame)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Segments:
        """Read .csv or .parquet."""
        return cls(read_table(path, ProtocolError), name=str(path))

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write .csv or .parquet."""
        write_table(self.frame, path)
