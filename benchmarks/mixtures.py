"""Mixtures beside what a user would write or run instead, on one thread, ratios from one run.

Run: python benchmarks/mixtures.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from veravox.models import DetectorModel, DetectorSpec

ROUNDS = 7
SAMPLES = 48_000
NAMES = ("asvspoof", "fake_or_real", "add", "in_the_wild")


def medians(*functions: Callable[[], object]) -> list[float]:
    """Median seconds of each, taken in turns so that a busy machine slows them alike."""
    times: list[list[float]] = [[] for _ in functions]
    for turn in range(ROUNDS + 1):
        for function, taken in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if turn:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


class PlainMaximum(nn.Module):
    """Max-feature-map as it is usually written."""

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.max(*torch.chunk(inputs, 2, dim=1))


class PlainEnhancedMixture(nn.Module):
    """The enhanced mixture as published: every expert runs once for its embedding and once for its logits."""

    def __init__(self, detector: DetectorModel) -> None:
        super().__init__()
        self.front_end = detector.front_ends["mel"]
        self.experts = nn.ModuleList(detector.mixture.experts.values())
        self.gate = detector.mixture.gate
        for expert in self.experts:
            for place, layer in enumerate(expert.trunk):
                if type(layer).__name__ == "MaxFeatureMap":
                    expert.trunk[place] = PlainMaximum()
            expert.embed[2] = PlainMaximum()
        self.to(memory_format=torch.contiguous_format)

    def forward(self, windows: Tensor) -> Tensor:
        features = self.front_end(windows)
        embeddings = torch.stack([expert(features).embeddings for expert in self.experts], dim=1)
        weights = self.gate(embeddings).softmax(dim=1)
        logits = torch.stack([expert(features).logits for expert in self.experts], dim=1)
        return (weights * logits).sum(dim=1)


def lcnn_mixture(gate: str, router: Any = "soft", names: tuple[str, ...] = NAMES) -> DetectorModel:
    torch.manual_seed(0)
    spec = {
        "front_ends": {"mel": "log_mel"},
        "experts": {name: {"front_end": "mel", "name": "lcnn"} for name in names},
        "gate": gate,
        "router": router,
    }
    return DetectorModel(DetectorSpec.parse(spec))


def training_step(module: nn.Module, windows: Tensor) -> Callable[[], None]:
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-4)
    targets = (torch.arange(len(windows)) % 2).float()

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        output = module(windows)
        logits = output if isinstance(output, Tensor) else output.logits
        nn.functional.binary_cross_entropy_with_logits(logits, targets).backward()
        optimiser.step()

    return step


def inference(function: Callable[[Tensor], object], windows: Tensor) -> Callable[[], None]:
    def run() -> None:
        with torch.inference_mode():
            function(windows)

    return run


def enhanced_training() -> tuple[float, float]:
    ours = lcnn_mixture("embedding_fc").train()
    plain = PlainEnhancedMixture(lcnn_mixture("embedding_fc").train()).train()
    windows = 0.1 * torch.randn(8, SAMPLES)
    slow, fast = medians(training_step(plain, windows), training_step(ours, windows))
    return slow, fast


def mile_inference() -> tuple[float, float]:
    spec = {
        "front_ends": {"mel": "log_mel", "spectrogram": "log_spectrogram"},
        "experts": {
            "lcnn_mel": {"front_end": "mel", "name": "lcnn"},
            "resnet_mel": {"front_end": "mel", "name": "resnet"},
            "resnet_spectrogram": {"front_end": "spectrogram", "name": "resnet"},
        },
        "gate": "attention",
    }
    detector = DetectorModel(DetectorSpec.parse(spec)).eval()
    windows = 0.1 * torch.randn(8, SAMPLES)

    def parts(batch: Tensor) -> None:
        features = {name: front_end(batch) for name, front_end in detector.front_ends.items()}
        for name, expert in detector.mixture.experts.items():
            expert(features[detector.spec.experts[name].front_end])

    whole, alone = medians(inference(detector, windows), inference(parts, windows))
    return whole, alone


def top_1_inference() -> tuple[float, float, float]:
    sparse = lcnn_mixture("input_linear", {"name": "top_k", "k": 1}).eval()
    dense = lcnn_mixture("input_linear").eval()
    windows = 0.1 * torch.randn(32, SAMPLES)
    one = dense.mixture.experts[NAMES[0]]

    def single(batch: Tensor) -> None:
        one(dense.front_ends["mel"](batch))

    routed, alone, all_run = medians(
        inference(sparse, windows), inference(single, windows), inference(dense, windows)
    )
    return routed, alone, all_run


def top_1_training() -> tuple[float, float, float]:
    router = {"name": "top_k", "k": 1, "noise": 1.0}
    sparse = lcnn_mixture("features_conv", router).train()
    dense = lcnn_mixture("features_conv", {**router, "train_all": True}).train()
    single = lcnn_mixture("uniform", names=NAMES[:1]).train()
    windows = 0.1 * torch.randn(16, SAMPLES)
    routed, alone, all_run = medians(*(training_step(one, windows) for one in (sparse, single, dense)))
    return routed, alone, all_run


def half_budget_inference() -> tuple[float, float]:
    half = lcnn_mixture("features_conv", {"name": "budget", "budget": 0.5}).eval()
    dense = lcnn_mixture("features_conv").eval()
    windows = 0.1 * torch.randn(16, SAMPLES)
    spared, all_run = medians(inference(half, windows), inference(dense, windows))
    return spared, all_run


def main() -> None:
    torch.set_num_threads(1)
    slow, fast = enhanced_training()
    print("training step, 4 LCNNs, enhanced gate, batch 8")
    print(f"  each expert twice {slow:.3f} s   veravox {fast:.3f} s   {slow / fast:.2f} times faster (wanted 1.7)")
    whole, parts = mile_inference()
    print("inference, 3 architectures, attention gate, batch 8")
    print(
        f"  front ends + bodies {parts:.3f} s   mixture {whole:.3f} s   {whole / parts:.2f} of them (wanted 1.15)"
    )
    routed, alone, all_run = top_1_inference()
    print("inference, top 1 of 4 LCNNs, gate sees the waveform, batch 32")
    print(
        f"  one expert {alone:.3f} s   all four {all_run:.3f} s   top 1 {routed:.3f} s   "
        f"{routed / alone:.2f} of one expert (wanted 1.2), {all_run / routed:.2f} times faster than all"
    )
    routed, alone, all_run = top_1_training()
    print("training step, top 1 of 4 LCNNs, gate sees the log-mel, batch 16")
    print(
        f"  one expert {alone:.3f} s   all four {all_run:.3f} s   top 1 {routed:.3f} s   "
        f"{routed / alone:.2f} of one expert, {all_run / routed:.2f} times faster than all"
    )
    spared, all_run = half_budget_inference()
    print("inference, a budget of half of 4 LCNNs, gate sees the log-mel, batch 16")
    print(f"  all four {all_run:.3f} s   half {spared:.3f} s   {spared / all_run:.2f} of all")


if __name__ == "__main__":
    main()
