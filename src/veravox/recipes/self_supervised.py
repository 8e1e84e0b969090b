"""Self-supervised encoders, each with a linear head and with AASIST, fine-tuned whole with Adam and with SAM."""

from __future__ import annotations

from dataclasses import replace

from veravox.models.experts.aasist import WINDOW_SAMPLES
from veravox.recipes import RECIPES
from veravox.recipes._parts import mixture_recipe
from veravox.recipes.sharpness import sharpness_aware
from veravox.recipes.single import AASIST_TRAINING
from veravox.training.recipe import Recipe, Stage

BASE, LARGE = "facebook/wav2vec2-base", "facebook/wav2vec2-large-robust"
XLSR = "facebook/wav2vec2-xls-r-300m"

FINE_TUNING = replace(
    AASIST_TRAINING,
    batch_size=32,
    learning_rate=1e-6,
    min_learning_rate=1e-6,
    weight_decay=1e-5,
    windows="first",
    drop_last=False,
)
"""Published: a constant rate of 1e-6 for encoder and head, batch 32, weight decay 1e-5, first windows, and the
weighted cross-entropy of AASIST."""

SEED = 666

RAWBOOST = ({"name": "rawboost", "algorithm": 5},)
"""The authors' configurations: algorithm 5 for self-supervised models, none for AASIST."""


def fine_tuned(name: str, description: str, model: str, head: str) -> Recipe:
    """An encoder and its head, trained together on windows of 64,600 samples.

    Args:
        model: hub name or local folder; `--set detector.front_ends.pretrained.model=FOLDER` changes it.
        head: `linear` or `aasist`.
    """
    plan = mixture_recipe(
        name,
        description,
        {"pretrained": {"front_end": "pretrained", "name": "ssl", "head": head}},
        "uniform",
        # A front end stays as it is where experts train alone, so the one expert trains as a mixture of one.
        (Stage("joint", "joint"),),
        # The published code hands waveforms to every encoder as they are.
        front_ends={"pretrained": {"name": "ssl", "model": model, "train": "fine_tuned", "normalise": False}},
        training=FINE_TUNING,
        window_s=WINDOW_SAMPLES / 16000,
        mix="sharpness-2025",
        augmentation=RAWBOOST,
        policy="first",
    )
    return replace(plan, seed=SEED)


@RECIPES.register("w2v_base_linear")
def w2v_base_linear(model: str = BASE) -> Recipe:
    """W2V-Base+Linear, Adam."""
    return fine_tuned("w2v_base_linear", "wav2vec 2.0 Base, linear head, fine-tuned", model, "linear")


@RECIPES.register("w2v_base_aasist")
def w2v_base_aasist(model: str = BASE) -> Recipe:
    """W2V-Base+AASIST, Adam."""
    return fine_tuned("w2v_base_aasist", "wav2vec 2.0 Base, AASIST head, fine-tuned", model, "aasist")


@RECIPES.register("w2v_large_linear")
def w2v_large_linear(model: str = LARGE) -> Recipe:
    """W2V-Large+Linear, Adam."""
    return fine_tuned("w2v_large_linear", "wav2vec 2.0 Large, linear head, fine-tuned", model, "linear")


@RECIPES.register("w2v_large_aasist")
def w2v_large_aasist(model: str = LARGE) -> Recipe:
    """W2V-Large+AASIST, Adam."""
    return fine_tuned("w2v_large_aasist", "wav2vec 2.0 Large, AASIST head, fine-tuned", model, "aasist")


@RECIPES.register("xlsr_linear")
def xlsr_linear(model: str = XLSR) -> Recipe:
    """XLS-R+Linear, Adam."""
    return fine_tuned("xlsr_linear", "XLS-R 300M, linear head, fine-tuned", model, "linear")


@RECIPES.register("xlsr_aasist")
def xlsr_aasist(model: str = XLSR) -> Recipe:
    """XLS-R+AASIST, Adam."""
    return fine_tuned("xlsr_aasist", "XLS-R 300M, AASIST head, fine-tuned", model, "aasist")


@RECIPES.register("w2v_base_linear_sam")
def w2v_base_linear_sam() -> Recipe:
    """W2V-Base+Linear, SAM with the published rho."""
    return sharpness_aware("w2v_base_linear", rho=0.05)


@RECIPES.register("w2v_base_aasist_sam")
def w2v_base_aasist_sam() -> Recipe:
    """W2V-Base+AASIST, SAM with the published rho."""
    return sharpness_aware("w2v_base_aasist", rho=0.05)


@RECIPES.register("w2v_large_linear_sam")
def w2v_large_linear_sam() -> Recipe:
    """W2V-Large+Linear, SAM with the published rho."""
    return sharpness_aware("w2v_large_linear", rho=0.005)


@RECIPES.register("w2v_large_aasist_sam")
def w2v_large_aasist_sam() -> Recipe:
    """W2V-Large+AASIST, SAM with the published rho."""
    return sharpness_aware("w2v_large_aasist", rho=0.001)


@RECIPES.register("xlsr_linear_sam")
def xlsr_linear_sam() -> Recipe:
    """XLS-R+Linear, SAM with the published rho."""
    return sharpness_aware("xlsr_linear", rho=0.005)


@RECIPES.register("xlsr_aasist_sam")
def xlsr_aasist_sam() -> Recipe:
    """XLS-R+AASIST, SAM with the published rho."""
    return sharpness_aware("xlsr_aasist", rho=0.001)
