"""The bundled detector: a slim MILE mixture, three architectures on the same data, attention gate."""

from __future__ import annotations

from dataclasses import replace

from veravox.models.detector import DetectorSpec
from veravox.recipes import RECIPES
from veravox.training.recipe import Recipe
from veravox.training.settings import Training
from veravox.training.stages import TrainExperts, TrainJointly

TRAINING_NOISE = (
    {"name": "gain", "probability": 0.5, "min_gain_db": -15.0, "max_gain_db": 6.0},
    {"name": "band_limit", "probability": 0.3, "min_low_pass_hz": 3000.0, "max_low_pass_hz": 8000.0},
    {"name": "noise", "probability": 0.4, "min_snr_db": 5.0, "max_snr_db": 40.0},
    {"name": "codec", "probability": 0.3},
    {"name": "polarity", "probability": 0.5},
)
"""Against living on level, bandwidth, noise floor or codec."""


SLIM_MILE_TRAINING = Training(
    batch_size=64,
    learning_rate=1e-3,
    min_learning_rate=1e-5,
    weight_decay=1e-2,
    label_smoothing=0.1,
    balance=("label", "domain"),
)


def slim_mile_detector(gate: str = "attention") -> DetectorSpec:
    """LCNN and ResNet on log-mel, ResNet on log-spectrogram, windows of 2 s at -26 dBFS."""
    return DetectorSpec.parse(
        {
            "front_ends": {"log_mel": "log_mel", "log_spectrogram": "log_spectrogram"},
            "experts": {
                "lcnn_mel": {"front_end": "log_mel", "name": "lcnn"},
                "resnet_mel": {"front_end": "log_mel", "name": "resnet"},
                "resnet_spectrogram": {"front_end": "log_spectrogram", "name": "resnet"},
            },
            "gate": gate,
            "window_s": 2.0,
            "level_dbfs": -26.0,
        }
    )


@RECIPES.register("mile_slim")
def mile_slim() -> Recipe:
    """LCNN and ResNet on log-mel, ResNet on log-spectrogram, attention gate: the bundled detector."""
    return Recipe(
        name="mile_slim",
        description="The bundled detector, MILE-Att: lcnn + log_mel, resnet + log_mel, resnet + log_spectrogram",
        detector=slim_mile_detector(),
        stages=(
            TrainExperts("experts", replace(SLIM_MILE_TRAINING, epochs=18, patience=8)),
            TrainJointly(
                "joint",
                replace(SLIM_MILE_TRAINING, epochs=5, patience=4, learning_rate=1e-4),
                expert_loss_weight=0.5,
                gate_learning_rate=1e-3,
            ),
        ),
        augmentation=TRAINING_NOISE,
    )
