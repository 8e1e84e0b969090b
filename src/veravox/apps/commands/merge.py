"""`veravox merge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    scores: Annotated[list[Path], typer.Argument(metavar="SCORES...", help="Shards, in any order.")],
    out: Annotated[Path, typer.Option(help="FILE.csv, FILE.parquet or FILE.jsonl.")],
    protocol: Annotated[Path | None, typer.Option(help="Check that every trial of it is there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Counts as JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No summary.")] = False,
) -> None:
    """Join shards to the whole; a missing or doubled trial is an error."""
    from veravox.apps import show
    from veravox.scoring import merge
    from veravox.tables import read_protocol

    whole = merge(scores, out, read_protocol(protocol) if protocol else None)
    if as_json:
        show.print_json({"out": str(out), "scores": len(whole), "failures": len(whole.failures)})
    show.say(f"{len(whole)} scores, {len(whole.failures)} failures; written to {out}", quiet or as_json)
