"""`veravox recipe list`."""

from __future__ import annotations

from typing import Annotated

import typer


def command(as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False) -> None:
    """Every named experiment."""
    from veravox.apps import show
    from veravox.recipes import RECIPES, recipe

    found = [recipe(name) for name in RECIPES.names()]
    if as_json:
        show.print_json([{"name": one.name, "description": one.description, "mix": one.mix} for one in found])
    else:
        show.print_table(
            ["recipe", "what it is", "the paper's data"],
            [[one.name, one.description, one.mix or ""] for one in found],
        )
