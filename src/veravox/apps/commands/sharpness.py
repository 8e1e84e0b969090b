"""`veravox sharpness`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veravox.apps.arguments import Json, Quiet

if TYPE_CHECKING:
    from veravox.analysis.sharpness.table import SharpnessTable
    from veravox.tables import Protocol


def command(
    model: Annotated[str, typer.Argument(help="Bundled name, checkpoint, run or folder of runs, or hub id.")],
    protocols: Annotated[list[str], typer.Argument(help="Protocols with labels; NAME=FILE gives one a name.")],
    measure: Annotated[
        list[str] | None,
        typer.Option(help="one_step (published), ascent, adaptive, average, eigenvalue. Repeatable."),
    ] = None,
    by: Annotated[list[str] | None, typer.Option(help="A column whose values are conditions. Repeatable.")] = None,
    drift: Annotated[str | None, typer.Option(help="A column whose values are added one by one.")] = None,
    rho: Annotated[float, typer.Option(help="Radius of the ball around the weights.")] = 0.05,
    adaptive_rho: Annotated[float, typer.Option(help="Radius of the adaptive measure.")] = 0.5,
    steps: Annotated[int, typer.Option(help="Steps of the ascent.", min=1)] = 5,
    draws: Annotated[int, typer.Option(help="Gaussian draws of the average.", min=1)] = 4,
    batch_size: Annotated[int, typer.Option(help="m of m-sharpness.", min=1)] = 32,
    max_batches: Annotated[
        int, typer.Option(help="Batches per condition, drawn by the seed; 0 for all.", min=0)
    ] = 0,
    class_weights: Annotated[
        str | None, typer.Option(help="SPOOF,BONAFIDE weights in the loss [those each model was trained with].")
    ] = None,
    policy: Annotated[str, typer.Option(help="Which window of a trial: first or middle.")] = "first",
    landscape: Annotated[bool, typer.Option("--landscape", help="Plot the loss around the weights.")] = False,
    points: Annotated[int, typer.Option(help="Points along a landscape's axis; odd.")] = 15,
    reach: Annotated[float, typer.Option(help="Reach of a landscape to either side.")] = 1.0,
    beside: Annotated[
        list[str] | None, typer.Option(help="Another model, measured and plotted on the same scale. Repeatable.")
    ] = None,
    correlate: Annotated[
        list[str] | None,
        typer.Option(
            help="Checkpoint, run, folder of runs with their seeds, or an earlier .json / .parquet. Repeatable."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed for batches, draws, directions and intervals.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")] = "auto",
    out: Annotated[Path | None, typer.Option(help="The table as .parquet, .json or .csv.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for a page with PNGs, Parquet and JSON.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """How sharp the loss is around a detector's weights, per protocol and condition."""
    from veravox.analysis.sharpness.measure import Measure
    from veravox.analysis.sharpness.models import draw_landscapes, find_models, is_table, measure_models
    from veravox.analysis.sharpness.page import write_sharpness_report
    from veravox.analysis.sharpness.table import correlate as correlation_of
    from veravox.apps import show
    from veravox.errors import ConfigurationError

    if landscape and report is None:
        raise ConfigurationError("--landscape draws into a folder; add --report FOLDER")
    settings = Measure(
        tuple(measure or ["one_step"]),
        rho,
        adaptive_rho,
        steps,
        draws,
        batch_size=batch_size,
        max_batches=max_batches or None,
        class_weights=_class_weights(class_weights),
        seed=seed,
    )
    read = _read_protocols(protocols)
    sources = [model, *(beside or [])]
    models = find_models([*sources, *(correlate or [])])
    for folder in models.unfinished:
        show.warn(f"{folder} holds no checkpoint yet and is left out")

    def progress(what: str, total: int):  # type: ignore[no-untyped-def]
        return show.progress(what, total, quiet)

    shown = [source for source in find_models(sources).names if not is_table(source)]
    table = measure_models(
        models.names, read, settings, by or [], drift, policy, device, progress, in_detail=shown
    )
    landscapes = []
    if landscape:
        drawn = {source: models.names[source] for source in shown}
        first = next(iter(read.values()))
        landscapes = draw_landscapes(drawn, first, settings, points, reach, policy, device, progress)
    correlations = correlation_of(table, settings.measures[0], seed) if correlate else []
    if out is not None:
        table.write(out)
    if report is not None:
        page = write_sharpness_report(table, report, landscapes, correlations, settings.measures[0])
        show.say(f"report: {page}", quiet)
    for failure in table.failures:
        show.warn(f"{failure['path']}: {failure['error']}")
    if as_json:
        show.print_json(table.to_dict() | {"correlations": correlations})
    else:
        _print(table, correlations)
    if table.failures:
        raise typer.Exit(1)


def _class_weights(text: str | None) -> tuple[float, float] | None:
    from veravox.errors import ConfigurationError

    if text is None:
        return None
    try:
        spoof, bona_fide = (float(part) for part in text.split(","))
    except ValueError:
        raise ConfigurationError(f"--class-weights takes two numbers, such as 0.1,0.9; not {text!r}") from None
    return spoof, bona_fide


def _read_protocols(texts: list[str]) -> dict[str, Protocol]:
    from veravox.errors import ConfigurationError
    from veravox.tables import Protocol

    named = [text.partition("=") if "=" in text else (Path(text).stem, "=", text) for text in texts]
    protocols = {name: Protocol.read(path) for name, _, path in named}
    if len(protocols) < len(named):
        raise ConfigurationError("two protocols have one name; give each its own as NAME=FILE")
    return protocols


def _print(table: SharpnessTable, correlations: list[dict[str, Any]]) -> None:
    from veravox.analysis.sharpness.page import grid_of
    from veravox.apps import show

    show.print_table(*grid_of(table))
    for row in correlations:
        figures = ", ".join(
            f"{name} {row[name]:.2f}" for name in ("pearson", "spearman", "kendall") if row[name] is not None
        )
        typer.echo(f"{row['protocol']}: {row['models']} models, {figures or 'nothing varies'}")
