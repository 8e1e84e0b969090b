"""`veravox recipe list`."""

from __future__ import annotations

from veravox.apps.arguments import Json, Quiet


def command(as_json: Json = False, quiet: Quiet = False) -> None:
    """Every named experiment."""
    from veravox.apps import show
    from veravox.recipes import RECIPES, recipe

    recipes = [recipe(name) for name in RECIPES.names()]
    if as_json:
        show.print_json(
            [{"name": item.name, "description": item.description, "mix": item.mix} for item in recipes]
        )
    else:
        show.print_table(
            ["recipe", "what it is", "the paper's data"],
            [[item.name, item.description, item.mix or ""] for item in recipes],
        )
