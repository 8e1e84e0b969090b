"""The tables of the papers from score files: systems in rows, datasets in columns, seeds as mean and deviation."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from veravox.errors import EvaluationError, first_few, suggest
from veravox.evaluation.estimates import Trials
from veravox.evaluation.evaluator import evaluate
from veravox.evaluation.groups import restrict
from veravox.evaluation.metrics.catalogue import DECISION_METRICS, METRICS
from veravox.evaluation.results import Evaluation
from veravox.evaluation.tables.grid import Grid, GridCell
from veravox.evaluation.tables.summary import NOTHING, lower_is_better, title_of
from veravox.tables import Protocol, Scores
from veravox.tables.external_scores import read_scores

SCORE_SUFFIXES = (".csv", ".parquet", ".jsonl", ".txt", ".tsv")
SEED = re.compile(r"[-_. ]?seed[-_. ]?(\d+)$", re.IGNORECASE)


@dataclass(frozen=True)
class Run:
    """The scores of one trained system: a folder with a score file for each dataset, or one file for all.

    Args:
        path: the folder or file.
        system: its row; runs of one system and variant are seeds of each other.
        variant: its place in the row's cells, such as `Adam` or `SAM`.
    """

    path: Path
    system: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> Run:
        """A run written as `PATH`, `SYSTEM:PATH` or `SYSTEM/VARIANT:PATH`.

        Without a name it is called as its folder or file, less a trailing `seed3`; a folder that is only `seed3`
        is called as the one above it.
        """
        words = os.fspath(text)
        name, colon, rest = words.partition(":")
        if colon and rest and not Path(words).exists():
            system, _, variant = name.rpartition("/") if "/" in name else (name, "", "")
            return cls(Path(rest), system, variant)
        path = Path(words)
        stem = path.stem if path.suffix.lower() in SCORE_SUFFIXES else path.name
        return cls(path, SEED.sub("", stem) or path.resolve().parent.name)

    @classmethod
    def parse_all(cls, text: str | os.PathLike[str]) -> list[Run]:
        """The runs that a text names: of a folder that holds `seed-0`, `seed-1` ..., each of these, by number."""
        run = cls.parse(text)
        inside = run.path.iterdir() if run.path.is_dir() else ()
        numbers = {
            path: int(found[1]) for path in inside if path.is_dir() and (found := SEED.fullmatch(path.name))
        }
        return [replace(run, path=path) for path in sorted(numbers, key=lambda path: numbers[path])] or [run]

    def scores_of(self, dataset: str, protocols: Mapping[str, Protocol], **reading: str | None) -> Scores:
        """The scores of one dataset.

        Raises:
            EvaluationError: if there is no file for it, or several.
        """
        if self.path.is_file():
            scores = read_scores(self.path, **reading)
            for protocol in protocols.values():
                scores = scores.named_as_in(protocol)
            others = [p.frame.select("utterance_id") for name, p in protocols.items() if name != dataset]
            own = protocols[dataset].frame.select("utterance_id")
            frame = scores.frame
            for other in others:
                frame = frame.join(other.join(own, on="utterance_id", how="anti"), on="utterance_id", how="anti")
            return Scores(frame, name=scores.name)
        if not self.path.is_dir():
            raise EvaluationError(f"the run {str(self.path)!r} does not exist")
        places = [self.path, self.path / "scores"]
        names = [f"{dataset}{suffix}" for suffix in SCORE_SUFFIXES]
        names += [f"{dataset}.scores{suffix}" for suffix in SCORE_SUFFIXES]
        names += [f"{dataset}/scores{suffix}" for suffix in SCORE_SUFFIXES]
        found = [place / name for place in places for name in names if (place / name).is_file()]
        if len(found) != 1:
            what = f"several score files for it: {first_few(found)}" if found else "none was found"
            raise EvaluationError(
                f"the run {str(self.path)!r} needs one score file for the dataset {dataset!r}, such as "
                f"{dataset}.csv or scores/{dataset}.csv; {what}"
            )
        return read_scores(found[0], **reading)


@dataclass
class Results:
    """Figures of many runs: of each system and variant, of each column, one value a run.

    Args:
        systems: rows, in order.
        variants: of the systems, in order; `("",)` if there are none.
        datasets: columns, in order.
        pools: name to its datasets.
        metrics: names of the figures.
    """

    systems: list[str]
    variants: list[str]
    datasets: list[str]
    pools: dict[str, list[str]]
    metrics: list[str]
    values: dict[tuple[str, str, str, str], list[float]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, run: Run, column: str, metric: str, value: float) -> None:
        """Enter one value of one run."""
        self.values.setdefault((run.system, run.variant, column, metric), []).append(value)

    def of(self, system: str, column: str, metric: str, variant: str = "") -> list[float]:
        """The values of all runs."""
        return self.values.get((system, variant, column, metric), [])


def pooled_name(pool: str) -> str:
    """The column of a pool's trials taken together."""
    return f"{pool} (pooled)"


def collect(
    runs: Sequence[Run],
    protocols: Mapping[str, Protocol],
    metrics: Sequence[str] = ("eer",),
    pools: Mapping[str, Sequence[str]] | None = None,
    pooled: bool = False,
    at: Sequence[str | float] = (),
    where: Sequence[str] = (),
    polarity: str | None = None,
    score_column: str | None = None,
) -> Results:
    """Evaluate every run on every dataset.

    Args:
        runs: those of one system and variant are its seeds.
        protocols: name of each dataset to its protocol with labels.
        metrics: names of figures, of `METRICS` or of decisions at an operating point.
        pools: name to datasets, whose macro mean becomes a column; `["*"]` is all.
        pooled: add the figures of each pool's trials taken together.
        at: the operating point of figures of decisions.
        where: `COLUMN=VALUE` that trials must satisfy.
        polarity: of foreign score files.
        score_column: of foreign score files.
    Raises:
        EvaluationError: if a run lacks a dataset, or a name is unknown.
        ScoringError: if a trial has no score, or a score has no trial.
    """
    datasets = list(protocols)
    named = {name: _members(name, members, datasets) for name, members in (pools or {}).items()}
    results = Results(
        list(dict.fromkeys(run.system for run in runs)),
        list(dict.fromkeys(run.variant for run in runs)),
        datasets,
        named,
        list(metrics),
    )
    for run in runs:
        joined = {}
        for dataset in datasets:
            raw = run.scores_of(dataset, protocols, polarity=polarity, score_column=score_column)
            scores, protocol = restrict(raw, protocols[dataset], where)
            evaluation = evaluate(scores, protocol, metrics=metrics, at=at)
            results.warnings += [f"{run.path}, {dataset}: {warning}" for warning in evaluation.warnings]
            joined[dataset] = Trials.join(scores, protocol)
            for metric in metrics:
                results.add(run, dataset, metric, evaluation[metric].value)
        for pool, members in named.items():
            _add_macro(results, run, pool, members)
            if pooled:
                _add_pooled(results, run, pool, [joined[member] for member in members], at)
    return results


def _add_macro(results: Results, run: Run, pool: str, members: Sequence[str]) -> None:
    """Enter the mean over a pool's datasets, of the run whose values were entered last."""
    for metric in results.metrics:
        last = [results.of(run.system, member, metric, run.variant)[-1] for member in members]
        results.add(run, pool, metric, float(np.mean(last)))


def _add_pooled(
    results: Results, run: Run, pool: str, datasets: Sequence[Trials], at: Sequence[str | float]
) -> None:
    """Enter the metrics of a pool's trials taken together."""
    evaluation = evaluate(
        np.concatenate([trials.scores for trials in datasets]),
        np.concatenate([trials.is_bona_fide for trials in datasets]),
        metrics=results.metrics,
        at=at,
    )
    for metric in results.metrics:
        results.add(run, pooled_name(pool), metric, evaluation[metric].value)


def _members(name: str, members: Sequence[str], datasets: Sequence[str]) -> list[str]:
    if list(members) == ["*"]:
        return list(datasets)
    for member in members:
        if member not in datasets:
            raise EvaluationError(f"pool {name!r}: no dataset {member!r}; {suggest(member, datasets)}")
    return list(members)


def seed_cell(values: Sequence[float], metric: str, digits: int = 2, name: str = "") -> GridCell:
    """Mean of the runs, with their standard deviation (n - 1) where there are several."""
    if not values:
        return GridCell(NOTHING, name=name)
    percent = metric in DECISION_METRICS or METRICS[metric].percent
    scale, places = (100, digits) if percent else (1, digits + 2)
    mean = float(np.mean(values))
    text = f"{scale * mean:.{places}f}"
    if len(values) > 1:
        text += f" ± {scale * float(np.std(values, ddof=1)):.{places}f}"
    return GridCell(text, mean, runs=tuple(values), name=name)


def results_grid(results: Results, digits: int = 2) -> Grid:
    """Systems in rows, datasets and pools in columns; best and second of each column marked."""
    columns = [*results.datasets]
    for pool in results.pools:
        columns.append(pool)
        if any(column == pooled_name(pool) for _, _, column, _ in results.values):
            columns.append(pooled_name(pool))
    rows = []
    for system in results.systems:
        cells = []
        for column in columns:
            pieces = [
                seed_cell(
                    results.of(system, column, metric, variant), metric, digits, f"{variant} {metric}".strip()
                )
                for variant in results.variants
                for metric in results.metrics
            ]
            cells.append(GridCell.join(pieces))
        rows.append([GridCell(system), *cells])
    ways = [lower_is_better(metric) for _ in results.variants for metric in results.metrics]
    grid = Grid.of(["system", *columns], rows, _caption(results))
    return grid.ranked(lambda position: ways[position], together=len(results.metrics) == 1)


def _caption(results: Results) -> str:
    names = " / ".join(title_of(metric) for metric in results.metrics)
    percent = [metric in DECISION_METRICS or METRICS[metric].percent for metric in results.metrics]
    parts = [names + (", %" if all(percent) else "")]
    if results.variants != [""]:
        parts.append("each cell " + " / ".join(variant or "plain" for variant in results.variants))
    if results.pools:
        described = [f"{name}: macro mean over {', '.join(members)}" for name, members in results.pools.items()]
        parts.append("; ".join(described))
    runs = [len(values) for values in results.values.values()]
    if max(runs, default=1) > 1:
        counts = f"{min(runs)}" if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
        alone = "; a value without deviation is of a single run" if min(runs) == 1 else ""
        parts.append(f"mean ± standard deviation over {counts} runs{alone}")
    else:
        parts.append("one run each, so no standard deviation")
    return ". ".join(parts) + "."


SIDE_METRICS = {"bonafide": "tnr", "spoof": "tpr", "": "balanced_accuracy"}


def accuracy_grid(
    runs: Sequence[Run],
    protocol: Protocol,
    by: Sequence[str],
    at: str | float,
    where: Sequence[str] = (),
    polarity: str | None = None,
    score_column: str | None = None,
    fractions: bool = True,
    digits: int = 3,
    metrics: Sequence[str] = (),
) -> Grid:
    """The challenges' table of binary verdicts: balanced accuracy, TPR, TNR, then accuracies by each column.

    Groups of bona fide trials (a real source) show the share passed, groups of spoof (a generator) the share
    found, groups of both (a post-processing) their balanced accuracy, and `metrics` behind it.

    Args:
        runs: those of one system are its seeds.
        protocol: of the task, with labels.
        by: columns, in order.
        at: the operating point: verdicts are binary (see `threshold_at`).
        where: `COLUMN=VALUE` that trials must satisfy.
        polarity: of foreign score files.
        score_column: of foreign score files.
        fractions: 0.896, not 89.6.
        digits: decimals.
        metrics: metrics that groups of both classes, and all trials, also show, such as `eer`.
    """
    further = [name for name in metrics if name != "balanced_accuracy"]
    main = ["balanced_accuracy", "tpr", "tnr"]
    rows: dict[str, dict[str, list[list[float]]]] = {}
    thresholds: dict[str, list[float]] = {}
    columns = [title_of(name) for name in main]
    for run in runs:
        if not run.path.is_file():
            raise EvaluationError(f"the run {str(run.path)!r} must be one score file for a table of accuracies")
        raw = read_scores(run.path, polarity, None, score_column)
        scores, trials = restrict(raw, protocol, where)
        evaluation = evaluate(scores, trials, by=by, at=[at], metrics=[*main, *further])
        thresholds.setdefault(run.system, []).extend(value for _, value in evaluation.operating_points.values())
        cells = _accuracies(evaluation, main, further)
        columns += [title for title in cells if title not in columns]
        for title, values in cells.items():
            rows.setdefault(run.system, {}).setdefault(title, []).append(values)
    grid = Grid.of(
        ["system", *columns],
        [
            [GridCell(system), *(_shares(row.get(title, []), fractions, digits) for title in columns)]
            for system, row in rows.items()
        ],
        _verdicts(at, thresholds, further),
    )
    ways = [False, *(lower_is_better(name) for name in further)]
    return grid.ranked(lambda position: ways[position])


def _accuracies(evaluation: Evaluation, main: Sequence[str], further: Sequence[str]) -> dict[str, list[float]]:
    """Title of each column to its values: over all trials, then group by group."""
    cells = {}
    for name in main:
        shown = [name, *further] if name == "balanced_accuracy" else [name]
        cells[title_of(name)] = [evaluation[each].value for each in shown]
    for column, groups in evaluation.groups.items():
        for group in groups:
            shown = [SIDE_METRICS[group.side], *(further if not group.side else [])]
            cells[f"{column} {group.name}"] = [group.estimates[each].value for each in shown]
    return cells


def _verdicts(at: str | float, thresholds: Mapping[str, Sequence[float]], further: Sequence[str]) -> str:
    """What the accuracies mean, and where each system's threshold lies."""
    named = ", ".join(
        f"{system} {' and '.join(f'{value:.4g}' for value in values)}" for system, values in thresholds.items()
    )
    behind = "".join(f" / {title_of(name)}" for name in further)
    behind = f" Where both classes are: balanced accuracy{behind}." if behind else ""
    return (
        "Share decided rightly: of spoof by generator, of bona fide by source, balanced where a group has both."
        f"{behind} Verdicts at {at} of all trials together, one threshold a system: {named}."
    )


def _shares(runs: Sequence[Sequence[float]], fractions: bool, digits: int) -> GridCell:
    if not runs:
        return GridCell(NOTHING)
    return GridCell.join([_share(values, fractions, digits) for values in zip(*runs, strict=True)])


def _share(values: Sequence[float], fractions: bool, digits: int) -> GridCell:
    scale = 1 if fractions else 100
    spread = f" ± {scale * float(np.std(values, ddof=1)):.{digits}f}" if len(values) > 1 else ""
    mean = float(np.mean(values))
    return GridCell(f"{scale * mean:.{digits}f}{spread}", mean, runs=tuple(values))
