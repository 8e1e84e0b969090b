"""One expert alone: the baselines of every mixture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from veravox.models.experts.aasist import WINDOW_SAMPLES
from veravox.recipes import RECIPES
from veravox.recipes._parts import ALONE, LCNN_TRAINING, mixture_recipe
from veravox.training.recipe import Recipe, Training

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
)
"""Published: Adam, cosine to 5e-6, batch 24, 100 epochs, class weights 0.1 (spoof) and 0.9 (bona fide)."""


def single_recipe(
    expert: str, front_end: str, description: str, training: Training, window_s: float = 3.0, **options: Any
) -> Recipe:
    """One expert on one front end, trained alone on all data."""
    experts = {expert: {"front_end": front_end, "name": expert, **options}}
    mix = {"aasist": "sharpness-2025", "lcnn": "mele-2025"}.get(expert)
    return mixture_recipe(expert, description, experts, "uniform", ALONE, None, training, window_s, mix)


@RECIPES.register("lcnn")
def lcnn() -> Recipe:
    """The LCNN of the mixture papers on log-mel, windows of 3 s, published settings."""
    return single_recipe("lcnn", "log_mel", "One LCNN on log-mel, as in the mixture papers", LCNN_TRAINING)


@RECIPES.register("lcnn_lstm")
def lcnn_lstm() -> Recipe:
    """The LFCC-LCNN baseline of ASVspoof 2021; its window is ours."""
    training = replace(LCNN_TRAINING, learning_rate=3e-4, label_smoothing=0.0)
    return single_recipe("lcnn_lstm", "lfcc", "LCNN with LSTM on LFCC, the ASVspoof 2021 baseline", training)


@RECIPES.register("resnet")
def resnet() -> Recipe:
    """A slim ResNet on log-mel."""
    return single_recipe("resnet", "log_mel", "One slim ResNet on log-mel", LCNN_TRAINING)


@RECIPES.register("rawnet2")
def rawnet2() -> Recipe:
    """RawNet2 on the waveform, windows of 64,600 samples."""
    training = replace(AASIST_TRAINING, batch_size=32)
    window_s = WINDOW_SAMPLES / 16000
    return single_recipe("rawnet2", "waveform", "RawNet2 on the waveform", training, window_s)


@RECIPES.register("aasist")
def aasist() -> Recipe:
    """AASIST on the waveform, windows of 64,600 samples, published settings."""
    return single_recipe("aasist", "waveform", "AASIST on the waveform", AASIST_TRAINING, WINDOW_SAMPLES / 16000)


@RECIPES.register("aasist_l")
def aasist_l() -> Recipe:
    """AASIST-L, the light variant of AASIST, with its settings."""
    return single_recipe(
        "aasist_l", "waveform", "AASIST-L on the waveform", AASIST_TRAINING, WINDOW_SAMPLES / 16000
    )


@RECIPES.register("joint_training")
def joint_training() -> Recipe:
    """The baseline of the first mixture paper: one LCNN, all domains drawn equally."""
    training = replace(LCNN_TRAINING, balance=("label", "domain"))
    alone = single_recipe("lcnn", "log_mel", "One LCNN trained on all domains together, drawn equally", training)
    return replace(alone, name="joint_training")
