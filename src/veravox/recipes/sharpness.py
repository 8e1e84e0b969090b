"""Any recipe with a sharpness-aware step in place of the plain one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from veravox.training.recipe import Recipe
from veravox.training.sharpness.options import SharpnessAware

SUFFIX = "_sam"

PUBLISHED_RHO = {
    "w2v_large_linear": 0.005,
    "w2v_large_aasist": 0.001,
    "xlsr_linear": 0.005,
    "xlsr_aasist": 0.001,
}
"""Radii of the sharpness paper that are not 0.05."""


def published_rho(name: str) -> float:
    """The radius that the sharpness paper gives for a recipe; 0.05 where it gives none."""
    return PUBLISHED_RHO.get(name, 0.05)


def sam(recipe: Recipe, rho: float = 0.05, **options: Any) -> Recipe:
    """The recipe with a sharpness-aware step in every stage.

    Of a mixture, each expert and the gate are perturbed by `rho` each, unless `length_over` says otherwise.

    Args:
        recipe: any recipe; a sharpness-aware one gets these options instead of its own.
        rho: radius of the perturbation.
        options: fields of `SharpnessAware`.
    Raises:
        ConfigurationError: for an option that is unknown or out of range.
    """
    if len(recipe.detector.experts) > 1:
        options = {"length_over": "group", **options}
    sharpness = SharpnessAware(rho=rho, **options)
    stages = tuple(
        replace(stage, training=replace(stage.training, sharpness=sharpness)) for stage in recipe.stages
    )
    if recipe.name.endswith(SUFFIX):
        return replace(recipe, stages=stages)
    return replace(
        recipe,
        name=recipe.name + SUFFIX,
        description=f"{recipe.description}; sharpness-aware",
        stages=stages,
    )
