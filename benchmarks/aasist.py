"""AASIST beside the same network written the public way: same weights, same logits, one thread.

Run: python benchmarks/aasist.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from plain_aasist import PlainAASIST
from veravox.models import DetectorModel, DetectorSpec
from veravox.models.experts.aasist import aasist_names

ROUNDS = 7


def pair(width: int, expert: str) -> tuple[PlainAASIST, torch.nn.Module]:
    """Both networks with the same random weights, in evaluation mode."""
    torch.manual_seed(0)
    shares = (0.5, 0.7, 0.5) if expert == "aasist" else (0.4, 0.5, 0.7)
    plain = PlainAASIST(width, shares)
    spec = {
        "front_ends": {"waveform": "waveform"},
        "experts": {expert: {"front_end": "waveform", "name": expert}},
        "window_s": 64600 / 16000,
    }
    ours = DetectorModel(DetectorSpec.parse(spec)).mixture.experts[expert]
    official = plain.state_dict()
    ours.load_state_dict({name: official[theirs] for theirs, name in aasist_names().items()})
    return plain.eval(), ours.eval()


def seconds(*functions: Callable[[], object]) -> list[float]:
    """Median time of each, taken in turns so that a busy machine slows them alike."""
    times: list[list[float]] = [[] for _ in functions]
    for round_ in range(ROUNDS + 1):
        for function, taken in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if round_:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def training_step(network: torch.nn.Module, windows: torch.Tensor) -> Callable[[], None]:
    def step() -> None:
        network.zero_grad(set_to_none=True)
        output = network(windows)
        logits = output if isinstance(output, torch.Tensor) else output.class_logits
        torch.nn.functional.cross_entropy(logits, torch.zeros(len(windows), dtype=torch.long)).backward()

    return step


def main() -> None:
    torch.set_num_threads(1)
    print("network   batch  what       plain s  ours s  ratio")
    for expert, width in (("aasist", 64), ("aasist_l", 24)):
        plain, ours = pair(width, expert)
        for batch in (1, 4):
            windows = 0.1 * torch.randn(batch, 64600)
            with torch.inference_mode():
                difference = (plain(windows) - ours(windows).class_logits).abs().max().item()
                assert difference < 1e-4, f"logits differ by {difference}"
                slow, fast = seconds(lambda: plain(windows), lambda: ours(windows))  # noqa: B023
            print(f"{expert:9} {batch:5}  inference  {slow:7.3f} {fast:7.3f} {slow / fast:6.2f}")
        plain.train()
        ours.train()
        slow, fast = seconds(training_step(plain, windows[:2]), training_step(ours, windows[:2]))
        print(f"{expert:9} {2:5}  training   {slow:7.3f} {fast:7.3f} {slow / fast:6.2f}")


if __name__ == "__main__":
    main()
