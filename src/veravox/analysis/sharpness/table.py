"""Sharpness as a table: intervals, files, and how it goes with the error rate."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy import stats

from veravox.errors import EvaluationError, OutputError
from veravox.files import write_json
from veravox.tables import read_table, write_table

COLUMNS = {
    "model": pl.String,
    "protocol": pl.String,
    "column": pl.String,
    "condition": pl.String,
    "measure": pl.String,
    "rho": pl.Float64,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "batches": pl.Int64,
    "trials": pl.Int64,
    "loss": pl.Float64,
    "eer": pl.Float64,
}
ROUNDS = 1000


def interval(values: np.ndarray, weights: np.ndarray, seed: int = 0) -> tuple[float | None, float | None]:
    """95 % of the weighted means of batches drawn anew; None of fewer than two batches."""
    if len(values) < 2:
        return None, None
    picks = np.random.default_rng(seed).integers(0, len(values), (ROUNDS, len(values)))
    means = (values[picks] * weights[picks]).sum(axis=1) / weights[picks].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


@dataclass
class SharpnessTable:
    """One row a model, protocol, condition and measure.

    Args:
        frame: the columns of `COLUMNS`.
        failures: protocol, utterance_id, path, error of every file that could not be read.
    """

    frame: pl.DataFrame
    failures: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        missing = [name for name in COLUMNS if name not in self.frame.columns]
        if missing:
            raise EvaluationError(f"this is no table of sharpness: the column {missing[0]!r} is missing")
        try:
            self.frame = self.frame.select(pl.col(name).cast(kind) for name, kind in COLUMNS.items())
        except pl.exceptions.PolarsError as error:
            raise EvaluationError(f"this is no table of sharpness: {str(error).splitlines()[0]}") from error

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return {"schema": 1, "sharpness": self.frame.to_dicts(), "failures": self.failures}

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write .parquet, .csv or .json.

        Raises:
            OutputError: for another ending, or if it cannot be written.
        """
        ending = Path(path).suffix.lower()
        if ending == ".json":
            write_json(path, self.to_dict())
        elif ending in (".parquet", ".csv"):
            write_table(self.frame, path)
        else:
            raise OutputError(f"cannot write {str(path)!r}: end its name in .parquet, .csv or .json")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> SharpnessTable:
        """Read what `write` wrote.

        Raises:
            EvaluationError: if it is no such file.
        """
        if Path(path).suffix.lower() != ".json":
            return cls(read_table(path, EvaluationError))
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            frame = pl.DataFrame(content["sharpness"], infer_schema_length=None)
            return cls(frame, content.get("failures", []))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"{str(path)!r} is no table of sharpness: {error}") from error

    @classmethod
    def join(cls, tables: Sequence[SharpnessTable]) -> SharpnessTable:
        """Several models' tables as one."""
        return cls(
            pl.concat([table.frame for table in tables]), [row for table in tables for row in table.failures]
        )


COEFFICIENTS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "pearson": lambda x, y: float(stats.pearsonr(x, y).statistic),
    "spearman": lambda x, y: float(stats.spearmanr(x, y).statistic),
    "kendall": lambda x, y: float(stats.kendalltau(x, y).statistic),
}


def correlate(table: SharpnessTable, measure: str = "one_step", seed: int = 0) -> list[dict[str, Any]]:
    """How sharpness goes with the EER over models, per test set.

    Returns:
        One row a protocol: models, and each coefficient with its 95 % interval (models drawn anew; None
        of fewer than four models, or where nothing varies).
    Raises:
        EvaluationError: of fewer than three models, or of measurements with different rho.
    """
    wholes = table.frame.filter((pl.col("column") == "all") & (pl.col("measure") == measure))
    wholes = wholes.filter(pl.col("eer").is_not_null())
    if wholes["model"].n_unique() < 3:
        raise EvaluationError(
            f"a correlation of {measure} with the EER needs three models or more, not {wholes['model'].n_unique()}"
        )
    if wholes["rho"].n_unique() > 1:
        radii = ", ".join(f"{rho:g}" for rho in wholes["rho"].unique().sort().to_list())
        raise EvaluationError(f"{measure} was measured with different rho ({radii}); measure all models alike")
    rows = []
    for protocol in wholes["protocol"].unique(maintain_order=True):
        here = wholes.filter(pl.col("protocol") == protocol)
        x, y = here["value"].to_numpy(), here["eer"].to_numpy()
        row: dict[str, Any] = {"protocol": protocol, "models": len(x)}
        for name, coefficient in COEFFICIENTS.items():
            row[name] = coefficient(x, y) if np.ptp(x) > 0 and np.ptp(y) > 0 and len(x) > 2 else None
            row[f"{name}_low"], row[f"{name}_high"] = _spread(coefficient, x, y, seed)
        rows.append(row)
    return rows


def _spread(
    coefficient: Callable[[np.ndarray, np.ndarray], float], x: np.ndarray, y: np.ndarray, seed: int
) -> tuple[float | None, float | None]:
    if len(x) < 4 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None, None
    rng, values = np.random.default_rng(seed), []
    for _ in range(ROUNDS):
        picked = rng.integers(0, len(x), len(x))
        if len(set(x[picked])) > 2 and len(set(y[picked])) > 1:
            values.append(coefficient(x[picked], y[picked]))
    if len(values) < ROUNDS // 2:
        return None, None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)
