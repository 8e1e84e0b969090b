"""What the recipes of the mixture papers share: detectors, domains, settings, published and ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from veravox.models.detector import DetectorSpec
from veravox.training.recipe import Recipe
from veravox.training.settings import Training
from veravox.training.stages import Stage

DOMAINS = ("neural-tts", "neural-vocoder", "signal-vocoder", "classic-tts")
"""The four domains of the corpus; any four values of a protocol's `domain` will do."""

LCNN_TRAINING = Training(
    epochs=100,
    batch_size=64,
    learning_rate=1e-4,
    min_learning_rate=1e-5,
    weight_decay=1e-4,
    label_smoothing=0.2,
    patience=20,
)
"""Ours, after those of 2025a: AdamW, cosine over 100 epochs, balanced draws, clipped gradients."""

PUBLISHED_LCNN_TRAINING = Training(
    epochs=150,
    batch_size=64,
    learning_rate=1e-4,
    min_learning_rate=1e-4,
    weight_decay=1e-4,
    label_smoothing=0.2,
    loss="softmax",
    gradient_clip=0.0,
    patience=20,
    choose="least_loss",
    replacement=True,
    drop_last=True,
    tiled_from="start",
    precision="float32",
)
"""Of 2025a, as its code has them: its cosine is stepped by the dev loss, so that the rate stays at 1e-4.

What it does otherwise: its dev loss is that of drawn windows, ours that of all dev trials, classes weighing alike.
"""

PUBLISHED_LCNN = {"front_end": "log_mel", "name": "lcnn", "start": "xavier"}
PUBLISHED_LOG_MEL = {"log_mel": {"name": "log_mel", "reflect": True}}

ARCHITECTURES = {
    "lcnn_mel": {"front_end": "log_mel", "name": "lcnn"},
    "resnet_mel": {"front_end": "log_mel", "name": "resnet"},
    "resnet_spectrogram": {"front_end": "log_spectrogram", "name": "resnet"},
}
"""The three experts of the second mixture paper; its ResNets are of unstated size, ours are slim."""

JOINT_TRAINING = replace(LCNN_TRAINING, epochs=50, patience=10)
"""Ours: no code of 2025b is public, and that of 2025a trains longer."""


def mixture_recipe(
    name: str,
    description: str,
    experts: Mapping[str, Mapping[str, Any]],
    gate: str | Mapping[str, Any],
    stages: Sequence[Stage],
    front_ends: Mapping[str, Any] | None = None,
    window_s: float = 3.0,
    mix: str | None = None,
    augmentation: Sequence[Mapping[str, Any]] = (),
    policy: Literal["first", "middle", "sliding"] = "sliding",
    **detector: Any,
) -> Recipe:
    """A recipe whose front ends are those that its experts name, unless given."""
    named = front_ends or {str(item["front_end"]): str(item["front_end"]) for item in experts.values()}
    spec = DetectorSpec.parse(
        {"front_ends": named, "experts": experts, "gate": gate, "window_s": window_s, **detector}
    )
    return Recipe(
        name=name,
        description=description,
        detector=spec,
        stages=tuple(stages),
        augmentation=tuple(augmentation),
        mix=mix,
        policy=policy,
    )


def domain_experts(domains: Sequence[str]) -> dict[str, str]:
    """Names of experts, one a domain: `neural-tts` gives `neural_tts`."""
    return {"".join(c if c.isalnum() else "_" for c in domain): domain for domain in domains}
