"""`veravox recipe show`."""

from __future__ import annotations

from typing import Annotated

import typer

from veravox.apps.arguments import Json, Quiet


def command(
    name: Annotated[str, typer.Argument(help="Name of a recipe, or a YAML file.")],
    settings: Annotated[
        list[str], typer.Option("--set", metavar="FIELD=VALUE", help="Change a field: training.epochs=3.")
    ] = [],  # noqa: B006
    sam: Annotated[
        float | None, typer.Option(metavar="RHO", help="With a sharpness-aware step of this radius.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """One experiment in full, as the YAML that `veravox train FILE.yaml` reads back."""
    from veravox.apps import show
    from veravox.apps.commands.train import find_recipe
    from veravox.training.recipe import change

    shown = change(find_recipe(name, sam), settings)
    if as_json:
        show.print_json(shown.to_dict())
    else:
        print(shown.to_yaml(), end="")
