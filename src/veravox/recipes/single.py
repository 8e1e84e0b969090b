"""One expert alone: the baselines of every mixture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from veravox.models.experts.aasist import WINDOW_SAMPLES
from veravox.recipes import RECIPES
from veravox.recipes.mixtures import (
    LCNN_TRAINING,
    PUBLISHED_LCNN,
    PUBLISHED_LCNN_TRAINING,
    PUBLISHED_LOG_MEL,
    mixture_recipe,
)
from veravox.training.recipe import Recipe
from veravox.training.settings import Training
from veravox.training.stages import TrainExperts

AASIST_TRAINING = Training(
    epochs=100,
    batch_size=24,
    learning_rate=1e-4,
    min_learning_rate=5e-6,
    optimiser="adam",
    weight_decay=1e-4,
    label_smoothing=0.0,
    class_weights=(0.1, 0.9),
    gradient_clip=0.0,
    patience=100,
    balance=(),
    drop_last=True,
    tiled_from="start",
    precision="float32",
)
"""Published: Adam, cosine to 5e-6, batch 24, 100 epochs, class weights 0.1 (spoof) and 0.9 (bona fide).

Its code also looks at eval to choose among averaged and other weights; this does not.
"""

WINDOW_S = WINDOW_SAMPLES / 16000


def single_recipe(
    expert: str,
    front_end: str,
    description: str,
    training: Training,
    window_s: float = 3.0,
    policy: Literal["first", "middle", "sliding"] = "sliding",
    **options: Any,
) -> Recipe:
    """One expert on one front end, trained alone on all data."""
    experts = {expert: {"front_end": front_end, "name": expert, **options}}
    mix = {"aasist": "sharpness-2025", "lcnn": "mele-2025"}.get(expert)
    stages = (TrainExperts("experts", training),)
    return mixture_recipe(
        expert, description, experts, "uniform", stages, window_s=window_s, mix=mix, policy=policy
    )


@RECIPES.register("lcnn")
def lcnn() -> Recipe:
    """The LCNN of 2025a on log-mel, windows of 3 s, published settings; dev is scored on the middle window."""
    return mixture_recipe(
        "lcnn",
        "One LCNN on log-mel, as in the first mixture paper",
        {"lcnn": PUBLISHED_LCNN},
        "uniform",
        (TrainExperts("experts", PUBLISHED_LCNN_TRAINING),),
        PUBLISHED_LOG_MEL,
        mix="mele-2025",
        policy="middle",
    )


@RECIPES.register("lcnn_house")
def lcnn_house() -> Recipe:
    """The same network with our settings: loss on logits, cosine, clipped gradients, sliding windows on dev."""
    alone = single_recipe("lcnn", "log_mel", "One LCNN on log-mel, house settings", LCNN_TRAINING)
    return replace(alone, name="lcnn_house")


@RECIPES.register("lcnn_lstm")
def lcnn_lstm() -> Recipe:
    """The LFCC-LCNN baseline of ASVspoof 2021 and its settings; it trains on whole utterances, here on 3 s."""
    training = Training(
        epochs=100,
        batch_size=64,
        learning_rate=3e-4,
        halving_epochs=10,
        optimiser="adam",
        weight_decay=0.0,
        label_smoothing=0.0,
        gradient_clip=0.0,
        patience=50,
        choose="least_loss",
        balance=(),
        precision="float32",
    )
    return single_recipe("lcnn_lstm", "lfcc", "LCNN with LSTM on LFCC, the ASVspoof 2021 baseline", training)


@RECIPES.register("lcnn_lstm_house")
def lcnn_lstm_house() -> Recipe:
    """The same network with our settings."""
    training = replace(LCNN_TRAINING, learning_rate=3e-4, label_smoothing=0.0)
    alone = single_recipe("lcnn_lstm", "lfcc", "LCNN with LSTM on LFCC, house settings", training)
    return replace(alone, name="lcnn_lstm_house")


@RECIPES.register("resnet")
def resnet() -> Recipe:
    """A slim ResNet on log-mel."""
    return single_recipe("resnet", "log_mel", "One slim ResNet on log-mel", LCNN_TRAINING)


@RECIPES.register("rawnet2")
def rawnet2() -> Recipe:
    """RawNet2, the baseline of ASVspoof 2021: first windows of 64,600 samples, a constant rate."""
    training = replace(AASIST_TRAINING, batch_size=32, min_learning_rate=1e-4, windows="first")
    description = "RawNet2 on the waveform, the ASVspoof 2021 baseline"
    return single_recipe("rawnet2", "waveform", description, training, WINDOW_S, "first", published=True)


@RECIPES.register("rawnet2_house")
def rawnet2_house() -> Recipe:
    """RawNet2 with blocks as its paper draws them and our settings: random windows, a cosine."""
    training = replace(AASIST_TRAINING, batch_size=32, drop_last=False, tiled_from="anywhere", precision="auto")
    description = "RawNet2 on the waveform, house settings"
    return replace(single_recipe("rawnet2", "waveform", description, training, WINDOW_S), name="rawnet2_house")


@RECIPES.register("aasist")
def aasist() -> Recipe:
    """AASIST on the waveform, windows of 64,600 samples, published settings; dev is scored on the first window."""
    training = replace(AASIST_TRAINING, average_best=True)
    return single_recipe("aasist", "waveform", "AASIST on the waveform", training, WINDOW_S, "first")


@RECIPES.register("aasist_l")
def aasist_l() -> Recipe:
    """AASIST-L, the light variant of AASIST, with its settings."""
    training = replace(AASIST_TRAINING, average_best=True)
    return single_recipe("aasist_l", "waveform", "AASIST-L on the waveform", training, WINDOW_S, "first")


@RECIPES.register("aasist_2025c")
def aasist_2025c() -> Recipe:
    """AASIST as the sharpness paper trains it: always the first 64,600 samples, and its seed."""
    training = replace(AASIST_TRAINING, windows="first", drop_last=False)
    description = "AASIST on first windows, as in the sharpness paper"
    alone = single_recipe("aasist", "waveform", description, training, WINDOW_S, "first")
    return replace(alone, name="aasist_2025c", seed=666)


@RECIPES.register("joint_training")
def joint_training() -> Recipe:
    """The baseline of the first mixture paper: one LCNN, all domains; that they are drawn equally is ours."""
    training = replace(PUBLISHED_LCNN_TRAINING, balance=("label", "domain"))
    description = "One LCNN trained on all domains together, drawn equally"
    stages = (TrainExperts("experts", training),)
    return replace(lcnn(), name="joint_training", description=description, stages=stages)
