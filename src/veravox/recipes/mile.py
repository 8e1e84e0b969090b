"""Implicitly localised experts (MILE): different architectures or features, the same data, joined by a gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from veravox.recipes import RECIPES
from veravox.recipes.mixtures import ARCHITECTURES, JOINT_TRAINING, LCNN_TRAINING, mixture_recipe
from veravox.training.recipe import Recipe
from veravox.training.stages import Stage, TrainExperts, TrainJointly

STAGES = (TrainExperts("experts", LCNN_TRAINING), TrainJointly("joint", JOINT_TRAINING))


def mile(
    name: str,
    description: str,
    gate: str,
    experts: Mapping[str, Mapping[str, Any]] = ARCHITECTURES,
    stages: Sequence[Stage] = STAGES,
    **detector: Any,
) -> Recipe:
    """Experts that differ in architecture or features, each on all data, then jointly."""
    return mixture_recipe(name, description, experts, gate, stages, mix="mile-2025", **detector)


@RECIPES.register("mile_cat")
def mile_cat() -> Recipe:
    """MILE-Cat of 2025b; settings are ours."""
    return mile(
        "mile_cat", "lcnn + log_mel, resnet + log_mel, resnet + log_spectrogram, concatenation gate", "concat"
    )


@RECIPES.register("mile_att")
def mile_att() -> Recipe:
    """MILE-Att of 2025b, the winner of its challenge track; settings are ours."""
    return mile(
        "mile_att", "lcnn + log_mel, resnet + log_mel, resnet + log_spectrogram, attention gate", "attention"
    )


@RECIPES.register("mile_from_scratch")
def mile_from_scratch() -> Recipe:
    """MILE-Att without pre-training: the joint stage alone, one shared loss."""
    plan = mile_att()
    description = "MILE-Att without pre-training of the experts"
    joint = (TrainJointly("joint", replace(LCNN_TRAINING, epochs=100, patience=20)),)
    return replace(plan, name="mile_from_scratch", description=description, stages=joint)


@RECIPES.register("mile_features")
def mile_features() -> Recipe:
    """The same expert with different features: a slim ResNet each on log-mel, log-spectrogram and LFCC."""
    experts = {
        f"resnet_{name}": {"front_end": name, "name": "resnet"} for name in ("log_mel", "log_spectrogram", "lfcc")
    }
    return mile(
        "mile_features", "resnet on log_mel, log_spectrogram and lfcc, attention gate", "attention", experts
    )


@RECIPES.register("mile_architectures")
def mile_architectures() -> Recipe:
    """Different experts on the same feature: LCNN, LCNN-LSTM and ResNet on one log-mel."""
    experts = {f"{name}_mel": {"front_end": "log_mel", "name": name} for name in ("lcnn", "lcnn_lstm", "resnet")}
    return mile(
        "mile_architectures", "lcnn, lcnn_lstm and resnet on one log_mel, attention gate", "attention", experts
    )


@RECIPES.register("mile_raw")
def mile_raw() -> Recipe:
    """The named families in one mixture: ResNet and LCNN on log-mel, RawNet2 and AASIST-L on the waveform."""
    experts = {
        "lcnn_mel": ARCHITECTURES["lcnn_mel"],
        "resnet_mel": ARCHITECTURES["resnet_mel"],
        "rawnet2": {"front_end": "waveform", "name": "rawnet2"},
        "aasist_l": {"front_end": "waveform", "name": "aasist_l"},
    }
    description = "lcnn and resnet on log_mel, rawnet2 and aasist_l on the waveform, attention gate"
    return mile("mile_raw", description, "attention", experts, window_s=4.0375)


@RECIPES.register("mile_ssl")
def mile_ssl(model: str = "facebook/wav2vec2-xls-r-300m") -> Recipe:
    """MILE-Att with a self-supervised expert: frozen while experts train alone, then fine-tuned at 1e-6.

    Args:
        model: hub name or local folder of a pretrained encoder;
            `--set detector.front_ends.pretrained.model=FOLDER` changes it.
    """
    front_ends = {
        "log_mel": "log_mel",
        "log_spectrogram": "log_spectrogram",
        "pretrained": {"name": "ssl", "model": model, "train": "fine_tuned"},
    }
    experts = {**ARCHITECTURES, "pretrained_linear": {"front_end": "pretrained", "name": "ssl"}}
    fine_tuning = replace(JOINT_TRAINING, batch_size=32, learning_rates={"front_ends": 1e-6})
    return mile(
        "mile_ssl",
        "MILE-Att with a self-supervised expert (XLS-R unless another model is set)",
        "attention",
        experts,
        (STAGES[0], TrainJointly("joint", fine_tuning)),
        front_ends=front_ends,
    )
