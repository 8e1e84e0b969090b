"""The detectors that come with the package: perceptrons on statistics of Whisper's first blocks."""

from __future__ import annotations

from typing import Any

from veravox.models.detector import DetectorSpec
from veravox.recipes import RECIPES
from veravox.training.recipe import Recipe
from veravox.training.settings import Training
from veravox.training.stages import TrainExperts

BUNDLED = "veravox-base"
"""Holds the first blocks of Whisper base and tiny.en, so that training needs nothing else."""

LOW_RATES = {
    "mp3": [16000, 16000, 24000, 32000],
    "aac": [16000, 16000, 24000, 32000],
    "opus": [12000, 16000, 24000],
    "vorbis": [16000, 16000, 24000, 32000],
}
PLATFORMS: tuple[dict[str, Any], ...] = (
    {"name": "pitch", "probability": 0.08, "min_semitones": -4.0, "max_semitones": 4.0},
    {"name": "time_stretch", "probability": 0.12, "min_tempo": 0.75, "max_tempo": 1.25},
    {"name": "noise", "probability": 0.25, "min_snr_db": 5.0, "max_snr_db": 25.0},
    {"name": "band_limit", "probability": 0.15, "max_high_pass_hz": 350.0},
    {"name": "resampling", "probability": 0.08},
    {
        "name": "codec",
        "probability": 0.55,
        "codecs": ["mp3", "mp3", "aac", "aac", "opus", "vorbis"],
        "bit_rates_bps": LOW_RATES,
    },
    {
        "name": "codec",
        "probability": 0.3,
        "codecs": ["mp3", "aac", "amr-nb", "gsm", "g726", "mu-law", "a-law"],
        "bit_rates_bps": {"mp3": [16000, 24000, 48000], "aac": [16000, 24000, 48000]},
    },
    {"name": "packet_loss", "probability": 0.05, "max_loss": 0.1},
)
"""What platforms and telephones do to a voice; every second epoch has the clips as they are."""

HEADS = Training(
    epochs=12,
    batch_size=256,
    learning_rate=1e-3,
    min_learning_rate=1e-5,
    weight_decay=1e-2,
    label_smoothing=0.1,
    draws=25600,
    balance=("label", "source"),
    nested=True,
    size_power=0.5,
    choose="last",
    cache_copies=2,
    cache_share=0.5,
)
"""Both labels alike, and all sources within them; a fixed number of steps, since dev chose the design already."""


def whisper(size: int, blocks: int, weights: str = BUNDLED) -> dict[str, Any]:
    """The front end: statistics of the stem and the first blocks, frozen."""
    return {"name": "whisper_blocks", "weights": weights, "size": size, "blocks": blocks, "pooling": "statistics"}


def heads(front_end: str, count: int, **options: Any) -> dict[str, Any]:
    """So many perceptrons on one front end; they differ by their random start alone."""
    return {
        f"{front_end}_{index + 1}": {"front_end": front_end, "name": "mlp", **options} for index in range(count)
    }


def perceptrons(name: str, description: str, front_ends: dict[str, Any], experts: dict[str, Any]) -> Recipe:
    """Frozen front ends and the perceptrons on them, weighed alike, on windows of 4 s at -26 dBFS."""
    first = next(iter(front_ends))
    parts = {"front_ends": front_ends, "experts": experts, "gate": "fixed", "familiarity": first}
    return Recipe(
        name=name,
        description=description,
        detector=DetectorSpec.parse({**parts, "window_s": 4.0, "level_dbfs": -26.0}),
        stages=(TrainExperts("experts", HEADS),),
        augmentation=PLATFORMS,
        half=True,
    )


@RECIPES.register("veravox_base")
def veravox_base() -> Recipe:
    """The default detector: perceptrons on two blocks of Whisper base and on two of Whisper tiny.en."""
    return perceptrons(
        "veravox_base",
        "The default detector: perceptrons on statistics of Whisper base's and tiny.en's first blocks",
        {"whisper_base": whisper(512, 2), "whisper_tiny": whisper(384, 2)},
        heads("whisper_base", 3) | heads("whisper_tiny", 2),
    )


@RECIPES.register("veravox_small")
def veravox_small() -> Recipe:
    """The small detector: a perceptron on the first block of Whisper tiny.en."""
    return perceptrons(
        "veravox_small",
        "The small detector: a perceptron on statistics of one block of Whisper tiny.en",
        {"whisper_tiny": whisper(384, 1)},
        heads("whisper_tiny", 1, hidden=[192, 96]),
    )
