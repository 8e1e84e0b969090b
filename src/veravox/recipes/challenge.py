"""Training against hardship: the challenge's set-up, and one of its kind that two processor cores can train."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from veravox.recipes import RECIPES, recipe
from veravox.training.recipe import Recipe

HARDSHIP: tuple[dict[str, Any], ...] = (
    {"name": "gain", "probability": 0.5, "min_gain_db": -15.0, "max_gain_db": 6.0},
    {"name": "rawboost", "probability": {0: 0.0, 2: 0.2, 6: 0.3}, "algorithm": 5},
    {"name": "room", "probability": {0: 0.0, 4: 0.1, 8: 0.2}},
    {"name": "device", "probability": {0: 0.0, 4: 0.1}},
    {"name": "noise", "probability": {0: 0.2, 4: 0.4}, "min_snr_db": 5.0, "max_snr_db": 40.0},
    {"name": "band_limit", "probability": 0.3, "min_low_pass_hz": 3000.0, "max_low_pass_hz": 8000.0},
    {"name": "resampling", "probability": {0: 0.0, 4: 0.1}},
    {"name": "codec", "probability": {0: 0.2, 4: 0.4}},
    {"name": "packet_loss", "probability": {0: 0.0, 6: 0.1}, "max_loss": 0.1},
    {"name": "polarity", "probability": 0.5},
)
"""Mild at first, harder from epoch to epoch; rooms before noise, noise before codecs, as on a line."""

COPIES: tuple[dict[str, Any], ...] = (
    {"name": "griffin_lim", "probability": {0: 0.1, 4: 0.15}},
    {"name": "lpc", "probability": {0: 0.05, 4: 0.1}},
)
"""A quarter of the spoof windows are in the end copies of bona fide windows beside them."""


@RECIPES.register("mile_att_challenge")
def mile_att_challenge() -> Recipe:
    """MILE-Att as set up for the challenge: nine data sets, SpecAugment and RawBoost.

    Which algorithm of RawBoost, how often, and how wide the masks were is not published; these are ours.
    """
    return replace(
        recipe("mile_att"),
        name="mile_att_challenge",
        description="MILE-Att as set up for the challenge (2025b): nine data sets, SpecAugment, RawBoost",
        mix="challenge-2025",
        augmentation=({"name": "rawboost", "probability": 0.5, "algorithm": 5},),
        spec_augment={"probability": 0.5},
    )


@RECIPES.register("mile_slim_hard")
def mile_slim_hard() -> Recipe:
    """The bundled detector's mixture against codecs, rooms, RawBoost, copies and masks, harder by the epoch."""
    return replace(
        recipe("mile_slim"),
        name="mile_slim_hard",
        description="The bundled detector's mixture, trained on codecs, rooms, RawBoost, copy-synthesis and masks",
        augmentation=HARDSHIP,
        spec_augment={"probability": {0: 0.0, 2: 0.5}},
        synthesis=COPIES,
        splice_probability={0: 0.0, 6: 0.3},
    )
