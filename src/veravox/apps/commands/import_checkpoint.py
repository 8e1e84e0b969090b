"""`veravox import-checkpoint`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veravox.apps.arguments import Json, Quiet


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A foreign PyTorch file: a state dict.")],
    expert: Annotated[str, typer.Option(help="Whose weights: aasist, aasist_l, rawnet2, or ssl (fairseq).")],
    out: Annotated[Path, typer.Option(help="Folder (or .safetensors file) to write.")],
    config: Annotated[
        Path | None, typer.Option(help="For ssl: config.json of the same model, or its folder.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a veravox checkpoint of published weights; what does not fit is named, and nothing is written.

    With --expert ssl FILE is a fairseq encoder (wav2vec 2.0, XLS-R, HuBERT, WavLM), and what is written is a
    folder that the front end ssl takes as its model.
    """
    if expert == "ssl":
        _convert(file, config, out, as_json, quiet)
        return
    from veravox.apps import show
    from veravox.models.checkpoint import write_checkpoint
    from veravox.models.import_weights import import_checkpoint

    checkpoint = import_checkpoint(file, expert)
    written = write_checkpoint(checkpoint, out)
    parameters = sum(parameter.numel() for parameter in checkpoint.model.parameters())
    wrapping = {key: value for key, value in checkpoint.provenance.items() if key in ("entry", "prefix")}
    if as_json:
        show.print_json({"path": str(written), "expert": expert, "parameters": parameters, **wrapping})
    else:
        for key, value in wrapping.items():
            show.note(f"read {'from the entry' if key == 'entry' else 'without the prefix'} {value!r}", quiet)
        show.note(
            f"{written}: {expert}, {parameters:,} parameters, uncalibrated; try: veravox score --model {written}",
            quiet,
        )


def _convert(file: Path, config: Path | None, out: Path, as_json: bool, quiet: bool) -> None:
    from veravox.apps import show
    from veravox.errors import ConfigurationError
    from veravox.models.fairseq import convert_fairseq

    if config is None:
        raise ConfigurationError("--expert ssl needs --config: the config.json of the same model, or its folder")
    folder = convert_fairseq(file, config, out)
    if as_json:
        show.print_json({"path": str(folder), "expert": "ssl"})
    else:
        show.note(
            f"{folder}: an encoder without a head; in a recipe: front end {{name: ssl, model: {folder}}}", quiet
        )
