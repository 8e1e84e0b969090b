"""Small detectors and recipes, so that whole journeys take seconds."""

from __future__ import annotations

import pytest
import torch

from veravox.batches.training import RECORDED, Batch
from veravox.models import Checkpoint, DetectorModel, DetectorSpec
from veravox.tables import Calibration
from veravox.training import Recipe, Stage, Training
from veravox.training.stages import parse_stage

TINY = {
    "front_ends": {"log_mel": {"name": "log_mel", "bands": 40}, "log_spectrogram": "log_spectrogram"},
    "experts": {
        "mel": {"front_end": "log_mel", "name": "resnet", "widths": [4, 8], "depths": [1, 1]},
        "linear": {"front_end": "log_spectrogram", "name": "resnet", "widths": [4, 6], "depths": [1, 1]},
    },
    "gate": "attention",
    "embedding_size": 8,
    "window_s": 0.5,
    "level_dbfs": -26.0,
}


def tiny_spec(**changes) -> DetectorSpec:
    return DetectorSpec.parse({**TINY, **changes})


def tiny_checkpoint(seed: int = 0, calibrated: bool = True, **changes) -> Checkpoint:
    """Random weights with lively batch statistics; not a good detector, but a real one."""
    torch.manual_seed(seed)
    detector = DetectorModel(tiny_spec(**changes))
    detector.train()
    with torch.no_grad():
        for _ in range(3):
            detector(torch.randn(8, detector.spec.window_samples) * 0.1)
    calibration = Calibration(2.0, -0.5, lower=-0.4, upper=0.3, policy="sliding 0.5 s every 0.5 s")
    return Checkpoint(
        detector.eval(), calibration if calibrated else None, {"min_snr_db": -50.0}, {"recipe": "tiny"}
    )


def tiny_encoder(folder, **changes):
    """A wav2vec 2.0 of random weights, written to a folder in the form of the hub."""
    transformers = pytest.importorskip("transformers", reason="the extra 'ssl' is not installed")
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    sizes |= {"conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [10, 32], "num_feat_extract_layers": 2}
    sizes |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    torch.manual_seed(0)
    encoder = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**{**sizes, **changes}))
    encoder.save_pretrained(folder)
    return encoder


TINY_TRAINING = Training(epochs=2, batch_size=16, draws=48, patience=5, learning_rate=2e-3)


def tiny_stage(trains: str, **fields) -> Stage:
    """A stage that trains `experts` or `joint`, with the tiny training where a field is not given."""
    return parse_stage({"name": trains, "trains": trains, **fields}, TINY_TRAINING.to_dict())


def batch_of(windows, targets, trials=None, mask_draws=None) -> Batch:
    """A batch of recorded windows."""
    count = len(targets)
    return Batch(
        windows,
        targets,
        torch.arange(count) if trials is None else trials,
        torch.zeros(count, 0) if mask_draws is None else mask_draws,
        torch.full((count,), RECORDED),
    )


def tiny_recipe(**changes) -> Recipe:
    options = {
        "name": "tiny",
        "description": "for tests",
        "detector": tiny_spec(),
        "stages": (tiny_stage("experts"), tiny_stage("joint", epochs=1, expert_loss_weight=0.5)),
        "augmentation": (
            {"name": "gain", "probability": 0.5},
            {"name": "noise", "probability": 0.5, "min_snr_db": 20.0, "max_snr_db": 30.0},
        ),
    }
    return Recipe(**{**options, **changes})
