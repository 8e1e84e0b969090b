"""Sharpness-aware training beside the plain recipes, with the published rho."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from veravox.recipes import RECIPES, recipe
from veravox.training.recipe import Recipe


def sharpness_aware(name: str, **options: Any) -> Recipe:
    """The named recipe with a sharpness-aware step in every stage; its own name ends in `_sam`."""
    plain = recipe(name)
    return replace(
        plain,
        name=f"{name}_sam",
        description=f"{plain.description}; sharpness-aware",
        training=replace(plain.training, sharpness=options),
    )


@RECIPES.register("aasist_sam")
def aasist_sam() -> Recipe:
    """AASIST with SAM, rho 0.05 as published."""
    return sharpness_aware("aasist", rho=0.05)


@RECIPES.register("aasist_2025c_sam")
def aasist_2025c_sam() -> Recipe:
    """The same as the sharpness paper trains it, with its rho."""
    return sharpness_aware("aasist_2025c", rho=0.05)


@RECIPES.register("lcnn_sam")
def lcnn_sam() -> Recipe:
    """The mixture papers' LCNN with SAM; no published rho, ours is 0.05."""
    return sharpness_aware("lcnn", rho=0.05)


@RECIPES.register("mile_att_sam")
def mile_att_sam() -> Recipe:
    """MILE with the attention gate and SAM, every expert and the gate perturbed by a rho of its own."""
    return sharpness_aware("mile_att", rho=0.05, length_over="group")


@RECIPES.register("mile_slim_sam")
def mile_slim_sam() -> Recipe:
    """The bundled detector's recipe with SAM."""
    return sharpness_aware("mile_slim", rho=0.05, length_over="group")
