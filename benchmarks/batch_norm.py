"""Batch norm with channels last: torch's own, ours, and torch's own in the contiguous layout; one thread.

Run: python benchmarks/batch_norm.py
"""

from __future__ import annotations

import statistics
import time

import torch
from torch import Tensor, nn

from veravox.models import DetectorModel, DetectorSpec
from veravox.models.layers.batch_norm import BatchNorm

ROUNDS = 5
SHAPES = {"lcnn": (64, 32, 40, 150), "resnet": (64, 16, 40, 151), "aasist": (24, 32, 23, 7163)}
STEPS = {"lcnn": ("log_mel", 3.0, 16), "resnet": ("log_mel", 3.0, 16), "aasist": ("waveform", 4.0375, 2)}


def error(norm: nn.BatchNorm2d, image: Tensor) -> float:
    """Largest relative error of a variance, beside float64."""
    exact = torch.stack([channel.double().var() for channel in image.unbind(1)])
    norm.train()(image)
    assert norm.running_var is not None
    return float(((norm.running_var - exact).abs() / exact).max())


def step(detector: DetectorModel, windows: Tensor) -> float:
    """Seconds of processor that one step forward and back takes."""
    start = time.process_time()
    detector(windows).logits.square().mean().backward()
    return time.process_time() - start


def plain(detector: DetectorModel) -> DetectorModel:
    """With torch's own norms."""
    for module in detector.modules():
        if isinstance(module, BatchNorm):
            module.__class__ = nn.BatchNorm2d
    return detector


def accuracy() -> None:
    print("largest error of a variance: torch's own, ours, contiguous")
    for name, shape in SHAPES.items():
        image = torch.randn(shape)
        last = image.contiguous(memory_format=torch.channels_last)
        channels = shape[1]
        errors = [
            error(nn.BatchNorm2d(channels, momentum=1.0), last),
            error(BatchNorm(channels, momentum=1.0), last),
            error(nn.BatchNorm2d(channels, momentum=1.0), image),
        ]
        print(f"{name} {shape}: " + ", ".join(f"{one:.1e}" for one in errors))


def speed() -> None:
    print("seconds of a training step: torch's own, ours, contiguous")
    for expert, (front_end, window_s, size) in STEPS.items():
        spec = DetectorSpec.parse(
            {
                "front_ends": {"heard": front_end},
                "experts": {expert: {"front_end": "heard", "name": expert}},
                "window_s": window_s,
            }
        )
        ours, own, contiguous = DetectorModel(spec), plain(DetectorModel(spec)), plain(DetectorModel(spec))
        kinds = [own, ours, contiguous.to(memory_format=torch.contiguous_format)]
        windows = 0.1 * torch.randn(size, spec.window_samples)
        times = [[step(kind, windows) for kind in kinds] for _ in range(ROUNDS + 1)][1:]
        print(
            f"{expert} ({size}): " + ", ".join(f"{statistics.median(one):.3f}" for one in zip(*times, strict=True))
        )


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    accuracy()
    speed()
