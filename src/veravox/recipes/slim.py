"""Small enough for two processor cores: the expert and the mixture on which Adam and SAM were compared."""

from __future__ import annotations

from typing import Any

from veravox.recipes import RECIPES
from veravox.recipes.mile_slim import TRAINING_NOISE
from veravox.recipes.mixtures import mixture_recipe
from veravox.training.recipe import Recipe
from veravox.training.settings import Training
from veravox.training.stages import TrainExperts, TrainJointly

SLIM_TRAINING = Training(
    epochs=10,
    batch_size=32,
    learning_rate=1e-3,
    min_learning_rate=1e-5,
    weight_decay=1e-2,
    label_smoothing=0.0,
    patience=10,
    draws=2400,
    balance=("label", "domain"),
)
"""2,400 windows an epoch; plain cross-entropy, so that the sharpness measured is that of the loss trained on."""

HALF_LCNN: dict[str, Any] = {"front_end": "log_mel", "name": "lcnn", "width": 0.5}

SLIM_EXPERTS: dict[str, dict[str, Any]] = {
    "lcnn_mel": HALF_LCNN,
    "resnet_mel": {"front_end": "log_mel", "name": "resnet"},
    "resnet_lfcc": {"front_end": "lfcc", "name": "resnet"},
}


@RECIPES.register("slim_expert")
def slim_expert() -> Recipe:
    """An LCNN of half the width on log-mel, Adam."""
    return mixture_recipe(
        "slim_expert",
        "One LCNN of half the width on log-mel, small enough for two cores",
        {"lcnn_mel": HALF_LCNN},
        "uniform",
        (TrainExperts("experts", SLIM_TRAINING),),
        window_s=2.0,
        augmentation=TRAINING_NOISE,
        level_dbfs=-26.0,
    )


@RECIPES.register("slim_mixture")
def slim_mixture() -> Recipe:
    """Three small experts and the attention gate, trained jointly from the start, Adam."""
    return mixture_recipe(
        "slim_mixture",
        "MILE-Att of three small experts, trained jointly from the start, small enough for two cores",
        SLIM_EXPERTS,
        "attention",
        (TrainJointly("joint", SLIM_TRAINING, expert_loss_weight=0.5),),
        window_s=2.0,
        augmentation=TRAINING_NOISE,
        level_dbfs=-26.0,
    )
