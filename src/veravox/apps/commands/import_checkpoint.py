"""`veravox import-checkpoint`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A foreign PyTorch file: a state dict.")],
    expert: Annotated[str, typer.Option(help="Whose weights they are: aasist, aasist_l.")],
    out: Annotated[Path, typer.Option(help="Folder (or .safetensors file) to write.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Make a veravox checkpoint of published weights; what does not fit is named, and nothing is written."""
    from veravox.apps import show
    from veravox.models.checkpoint import write_checkpoint
    from veravox.models.foreign import import_checkpoint

    checkpoint = import_checkpoint(file, expert)
    written = write_checkpoint(checkpoint, out)
    parameters = sum(parameter.numel() for parameter in checkpoint.detector.parameters())
    if json_output:
        show.print_json({"path": str(written), "expert": expert, "parameters": parameters})
    else:
        typer.echo(
            f"{written}: {expert}, {parameters:,} parameters, uncalibrated; try: veravox score --model {written}"
        )
