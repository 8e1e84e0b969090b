"""Named experiments: a function each, which returns a `Recipe`; a variant calls another and changes fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.registry import Registry

if TYPE_CHECKING:
    from veravox.training.recipe import Recipe

RECIPES: Registry[Recipe] = Registry("recipe", "veravox.recipes")


def recipe(name: str) -> Recipe:
    """The named recipe.

    Raises:
        ConfigurationError: for an unknown name, with the nearest one.
    """
    return RECIPES[name]()


__all__ = ["RECIPES", "recipe"]
