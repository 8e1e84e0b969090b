"""`veravox degrade`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    protocol: Annotated[Path, typer.Argument(help="Trials to degrade (.csv or .parquet).")],
    suite: Annotated[str, typer.Option(help="safe-task2, safe-task3 or silence.")],
    out: Annotated[Path, typer.Option(help="Folder for audio/, protocol.csv and the rest.")],
    operation: Annotated[
        list[str] | None, typer.Option(help="Only this operation of the suite; may be given again.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    original: Annotated[bool, typer.Option("--original", help="List the untouched trials too.")] = False,
    sheet: Annotated[bool, typer.Option("--sheet", help="Draw one trial: contact-sheet.png and .html.")] = False,
    sheet_of: Annotated[str | None, typer.Option(help="Draw this trial instead of the first.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Counts as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Post-processed and laundered copies of all trials, with their protocol; repeatable, resumable."""
    from veravox.apps import show
    from veravox.degradation.degraded_copies import degrade
    from veravox.degradation.sheet import contact_sheet
    from veravox.files import refuse_inputs
    from veravox.tables import read_protocol

    refuse_inputs(out / "protocol.csv", [protocol])
    trials = read_protocol(protocol)
    with show.progress("degrading", len(trials), quiet) as advance:
        result = degrade(
            trials,
            suite,
            out,
            operations=operation or (),
            seed=seed,
            workers=workers,
            include_original=original,
            advance=advance,
        )
    for name, reason in result.skipped.items():
        show.warn(f"skipped {name!r}: {reason}")
    for row in result.failures.iter_rows(named=True):
        show.warn(f"{row['path']}: {row['error']}")
    if sheet or sheet_of is not None:
        png, page, _ = contact_sheet(trials, result.protocol, suite, out, sheet_of)
        show.say(f"drawn: {png} and {page}", quiet)
    frame = result.protocol.frame
    files = frame.group_by("degradation", maintain_order=True).len().rows() if len(frame) else []
    if as_json:
        content = {
            "protocol": str(out / "protocol.csv"),
            "files": dict(files),
            "made": result.made,
            "kept": result.kept,
            "skipped": result.skipped,
            "failures": result.failures.to_dicts(),
        }
        show.print_json(content)
    else:
        skipped = [(name, "skipped") for name in result.skipped]
        show.print_table(["degradation", "files"], [*files, *skipped])
    if len(result.failures):
        raise typer.Exit(1)
