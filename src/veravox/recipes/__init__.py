"""Named experiments: a function each, which returns a `Recipe`; a variant calls another and changes fields."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.errors import ConfigurationError
from veravox.lazy import attach
from veravox.registry import Registry

if TYPE_CHECKING:
    from veravox.training.recipe import Recipe

RECIPES: Registry[Recipe] = Registry("recipe", "veravox.recipes", returns="Recipe")


def recipe(name: str) -> Recipe:
    """The named recipe; `NAME_sam` is `sam(recipe(NAME))` with the published radius.

    Raises:
        ConfigurationError: for an unknown name, with the nearest one; or for a function that returns no recipe.
    """
    from veravox.recipes.sharpness import SUFFIX, published_rho, sam
    from veravox.training.recipe import Recipe

    plain = name.removesuffix(SUFFIX)
    if plain != name and plain in RECIPES:
        return sam(recipe(plain), published_rho(plain))
    made = RECIPES[name]()
    if not isinstance(made, Recipe):
        raise ConfigurationError(f"recipe {name!r} returned {type(made).__name__}, not a Recipe")
    return made


def list_recipes() -> list[str]:
    """Names of all recipes, for `recipe`."""
    return RECIPES.names()


if TYPE_CHECKING:
    from veravox.recipes.sharpness import sam as sam
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__, ("RECIPES", "list_recipes", "recipe"))
