"""`veravox protocol mix`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veravox.apps.arguments import Json, Quiet, names_and_values


def command(
    mix: Annotated[
        str | None, typer.Argument(metavar="FILE.yaml|NAME", help="A file, or one of the named mixes.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to write the sets into.")] = None,
    roots: Annotated[
        list[str] | None,
        typer.Option("--root", metavar="NAME=FOLDER", help="Where a source or companion lies; repeatable."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Leave out sources whose folder is not given.")
    ] = False,
    csv: Annotated[bool, typer.Option("--csv", help="Write .csv instead of .parquet.")] = False,
    seed: Annotated[int | None, typer.Option(help="Another seed than the mix names.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build training and test sets from several corpora or protocols, as a YAML file says.

    Without a name, the named mixes are listed. Trials are drawn by the hash of their ids: with one seed everyone
    gets the same sets.
    """
    import dataclasses

    from veravox.apps import show
    from veravox.corpora.mixing.mix import make_mix
    from veravox.corpora.mixing.spec import named_mixes, read_mix
    from veravox.errors import ConfigurationError

    if mix is None:
        rows = [[name, " ".join(item.sources), item.about] for name, item in named_mixes().items()]
        show.print_table(("mix", "sources", "about"), rows)
        return
    if out is None:
        raise ConfigurationError("say where the sets go: --out FOLDER")
    spec = read_mix(mix)
    if seed is not None:
        spec = dataclasses.replace(spec, seed=seed)
    folders = names_and_values(roots or [], "--root", "NAME=FOLDER")
    start = str(Path(mix).parent) if Path(mix).exists() else "."
    made = make_mix(spec, folders, partial, start)
    made.write(out, ".csv" if csv else ".parquet")
    for note in made.notes:
        show.warn(show.printable(note))
    if as_json:
        show.print_json({"schema": 1, "mix": spec.name, "seed": spec.seed, "sets": made.figures()})
        return
    rows = []
    for row in made.figures():
        sources = ", ".join(f"{name} {trials}" for name, trials in row["sources"].items())
        rows.append([row["set"], row["trials"], row["bonafide"], row["spoof"], sources])
    show.print_table(("set", "trials", "bonafide", "spoof", "sources"), rows)
