"""Named experiments: a function each, which returns a `Recipe`; a variant calls another and changes fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.errors import ConfigurationError
from veravox.registry import Registry

if TYPE_CHECKING:
    from veravox.training.recipe import Recipe

RECIPES: Registry[Recipe] = Registry("recipe", "veravox.recipes", returns="Recipe")


def recipe(name: str) -> Recipe:
    """The named recipe.

    Raises:
        ConfigurationError: for an unknown name, with the nearest one; or for a function that returns no recipe.
    """
    from veravox.training.recipe import Recipe

    made = RECIPES[name]()
    if not isinstance(made, Recipe):
        raise ConfigurationError(f"recipe {name!r} returned {type(made).__name__}, not a Recipe")
    return made


__all__ = ["RECIPES", "recipe"]
