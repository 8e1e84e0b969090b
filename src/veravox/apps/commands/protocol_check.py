"""`veravox protocol check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(protocols: Annotated[list[Path], typer.Argument(metavar="PROTOCOL...")]) -> None:
    """Schema, duplicates, label balance, unreadable files."""
    from veravox.tables import read_protocol

    for path in protocols:
        protocol = read_protocol(path)
        typer.echo(f"{path}: {len(protocol)} trials")
