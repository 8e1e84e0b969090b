"""What a training step of four domain LCNNs costs: each on its own windows, beside all on all and a masked loss.

Run: python benchmarks/stages.py [--windows 32] [--steps 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from veravox.batches.training import Batch
from veravox.models import DetectorModel
from veravox.recipes import recipe
from veravox.tables import Protocol
from veravox.training import Processes, TrainExperts, Training
from veravox.training.division import Division
from veravox.training.losses import masked_expert_losses
from veravox.training.parts import parameter_groups


def seconds(steps: list[Callable[[], object]], rounds: int) -> list[float]:
    """Median time of each step, taken in turns."""
    taken: list[list[float]] = [[] for _ in steps]
    for number in range(rounds + 1):
        for step, times in zip(steps, taken, strict=True):
            begun = time.perf_counter()
            step()
            if number:  # the first is for warming up
                times.append(time.perf_counter() - begun)
    return [statistics.median(times) for times in taken]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    detector = DetectorModel(recipe("mele_enhanced").detector)
    experts = len(detector.expert_names)
    stage = TrainExperts("experts", Training(precision="float32"))
    parameter_groups(detector, stage)
    windows = torch.randn(given.windows, detector.spec.window_samples) * 0.1
    targets, trials = torch.arange(given.windows) % 2 * 1.0, torch.arange(given.windows)
    owned = trials.numpy()[:, None] % experts == np.arange(experts)
    nothing = torch.zeros(given.windows, 0)
    batch = Batch(windows, targets, trials, nothing, torch.zeros(given.windows))
    protocol, device = Protocol.from_rows([{"utterance_id": "0"}]), torch.device("cpu")
    everyone, own = (
        stage.learner(detector, Division(protocol, (), mask), Processes(), device) for mask in (None, owned)
    )

    def masked() -> torch.Tensor:
        mask = torch.from_numpy(owned)
        logits = detector(windows).expert_logits
        return masked_expert_losses(logits, targets, 0.0, mask, mask.sum(dim=0)).sum()

    found = seconds(
        [
            lambda: stage.loss(own, batch).backward(),
            lambda: masked().backward(),
            lambda: stage.loss(everyone, batch).backward(),
        ],
        given.steps,
    )
    print(f"{experts} LCNNs, {given.windows} windows of {detector.spec.window_s:g} s, {given.threads} thread(s)")
    for name, value in zip(
        ("own windows only", "all windows, loss masked", "all on all (MILE)"), found, strict=True
    ):
        print(f"  {name:28s} {1000 * value:8.0f} ms a step   {value / found[0]:5.2f} x")


if __name__ == "__main__":
    main()
