"""Self-supervised encoders, each with a linear head and with AASIST, fine-tuned whole."""

from __future__ import annotations

from dataclasses import replace

from veravox.models.detector import DetectorSpec
from veravox.models.experts.aasist import WINDOW_SAMPLES
from veravox.recipes import RECIPES
from veravox.recipes.single import AASIST_TRAINING
from veravox.training.recipe import Recipe
from veravox.training.stages import TrainJointly

ENCODERS = {
    "w2v_base": "facebook/wav2vec2-base",
    "w2v_large": "facebook/wav2vec2-large-robust",
    "xlsr": "facebook/wav2vec2-xls-r-300m",
}
"""The encoders of the sharpness paper by the first word of a recipe's name."""

TITLES = {"w2v_base": "wav2vec 2.0 Base", "w2v_large": "wav2vec 2.0 Large", "xlsr": "XLS-R 300M"}
HEADS = {"linear": "linear head", "aasist": "AASIST head"}

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


def self_supervised(encoder: str, head: str, model: str | None = None) -> Recipe:
    """An encoder and its head, trained together on windows of 64,600 samples.

    Args:
        encoder: one of `ENCODERS`.
        head: `linear` or `aasist`.
        model: hub name or local folder in place of the encoder's own;
            `--set detector.front_ends.pretrained.model=FOLDER` changes it.
    """
    front_end = {"name": "ssl", "model": model or ENCODERS[encoder], "train": "fine_tuned"}
    detector = DetectorSpec.parse(
        {
            # The published code hands waveforms to every encoder as they are.
            "front_ends": {"pretrained": {**front_end, "normalise": False}},
            "experts": {"pretrained": {"front_end": "pretrained", "name": "ssl", "head": head}},
            "window_s": WINDOW_SAMPLES / 16000,
        }
    )
    return Recipe(
        name=f"{encoder}_{head}",
        description=f"{TITLES[encoder]}, {HEADS[head]}, fine-tuned",
        detector=detector,
        # A front end stays as it is where experts train alone, so the one expert trains as a mixture of one.
        stages=(TrainJointly("joint", FINE_TUNING),),
        augmentation=RAWBOOST,
        policy="first",
        mix="sharpness-2025",
        seed=SEED,
    )


def _register(encoder: str, head: str) -> None:
    @RECIPES.register(f"{encoder}_{head}")
    def make(model: str | None = None) -> Recipe:
        return self_supervised(encoder, head, model)


for _encoder in ENCODERS:
    for _head in HEADS:
        _register(_encoder, _head)
