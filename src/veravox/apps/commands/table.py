"""`veravox table`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veravox.apps.arguments import Quiet, names_and_values

if TYPE_CHECKING:
    from veravox.evaluation import Grid, Run
    from veravox.tables import Protocol


def command(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="Folders of score files (DATASET.csv), or files: PATH, SYSTEM:PATH or SYSTEM/VARIANT:PATH. "
            "Runs of one system are its seeds; a folder of seed-N folders names them all.",
            metavar="RUN...",
        ),
    ],
    datasets: Annotated[
        list[str],
        typer.Option(help="NAME=PROTOCOL of each dataset, repeated or in a row.", metavar="NAME=PROTOCOL"),
    ],
    metric: Annotated[
        list[str] | None, typer.Option(help="Estimate of each cell; repeat for pairs. EER if none.")
    ] = None,
    pool: Annotated[
        list[str] | None, typer.Option(help="NAME=a,b: macro mean over datasets as a column; `all=*` for all.")
    ] = None,
    pooled: Annotated[
        bool, typer.Option("--pooled", help="Also each pool's trials taken together, so named.")
    ] = False,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Accuracies, and --metric, by this column (one dataset, with --at). Repeatable."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Operating point of verdicts: a number, eer, miss=0.01, ...")
    ] = None,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE: only these trials. Repeatable.")] = None,
    polarity: Annotated[
        str | None, typer.Option(help="Of foreign files: higher-is-bonafide or higher-is-spoof.")
    ] = None,
    score_column: Annotated[str | None, typer.Option(help="Foreign files: name or number of the score.")] = None,
    transpose: Annotated[bool, typer.Option("--transpose", help="Systems in columns.")] = False,
    digits: Annotated[int | None, typer.Option(help="Decimals.", min=0, max=8)] = None,
    style: Annotated[str, typer.Option("--format", help="terminal, markdown, csv, latex or json.")] = "terminal",
    out: Annotated[
        list[Path] | None, typer.Option(help="Also write .md, .csv, .tex or .json, by the ending. Repeatable.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """The papers' tables: systems in rows, datasets in columns, seeds as mean and deviation, best bold."""
    from veravox.apps import show
    from veravox.errors import EvaluationError
    from veravox.evaluation import Run, collect, pools_from_text, read_key, results_grid
    from veravox.evaluation.tables.grid import FORMS, form_of
    from veravox.files import write_text

    # `--datasets A=a.csv B=b.csv`: the shell hands the second one over as a run.
    named = [*datasets, *(run for run in runs if "=" in run and not Path(run).exists())]
    paths = names_and_values(named, "--datasets", "NAME=PROTOCOL")
    protocols = {name: read_key(path) for name, path in paths.items()}
    parsed = [run for text in runs if text not in named for run in Run.parse_all(text)]
    if not parsed:
        raise EvaluationError("no run is given: name folders or files of scores before --datasets")
    if style != "terminal" and style not in FORMS:
        raise EvaluationError(f"unknown format {style!r}; use terminal, {', '.join(FORMS)}")
    targets = [(path, form_of(path)) for path in out or []]
    reading: dict[str, Any] = {"where": where or [], "polarity": polarity, "score_column": score_column}
    if by:
        grid = _accuracies(parsed, protocols, by, at, metric or [], 3 if digits is None else digits, **reading)
    else:
        results = collect(
            parsed,
            protocols,
            metric or ["eer"],
            pools_from_text(pool or []),
            pooled,
            [at] if at else [],
            **reading,
        )
        for warning in results.warnings:
            show.warn(warning)
        grid = results_grid(results, 2 if digits is None else digits)
    grid = grid.transposed() if transpose else grid
    for path, form in targets:
        write_text(path, grid.written(form))
    if style == "terminal":
        show.print_table(grid.columns, grid.texts(), grid.caption)
    else:
        typer.echo(grid.written(style), nl=False)


def _accuracies(
    runs: list[Run],
    protocols: dict[str, Protocol],
    by: list[str],
    at: str | None,
    metrics: list[str],
    digits: int,
    **reading: Any,
) -> Grid:
    """The table of accuracies by columns, which is of one dataset."""
    from veravox.errors import EvaluationError
    from veravox.evaluation import accuracy_grid

    if len(protocols) != 1 or at is None:
        raise EvaluationError("a table of accuracies is of one dataset at a stated operating point: give --at")
    (protocol,) = protocols.values()
    return accuracy_grid(runs, protocol, by, at, digits=digits, metrics=metrics, **reading)
