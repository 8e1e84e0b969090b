"""Cost of a sharpness-aware step as a ratio to the base optimiser's step, one thread, all in one run.

Run: python benchmarks/sharpness.py [--batch-size 16]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from veravox.models import DetectorModel, DetectorSpec
from veravox.training import sharpness_aware_step

ROUNDS = 6
CYCLE = 5
"""Steps a round: LookSAM(5) perturbs in one of them."""
WINDOW_S = 1.0
WANTED = {"sam": 2.1, "half-batch ascent": 1.6, "looksam(5)": 1.3}


class HostReads(TorchDispatchMode):
    """Counts the times a value is read from a tensor: on an accelerator the host waits there."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if "_local_scalar_dense" in str(function):
            self.count += 1
        return function(*arguments, **(options or {}))


def detector() -> DetectorModel:
    torch.manual_seed(0)
    spec = {
        "front_ends": {"mel": "log_mel"},
        "experts": {"lcnn": {"front_end": "mel", "name": "lcnn"}},
        "window_s": WINDOW_S,
    }
    return DetectorModel(DetectorSpec.parse(spec)).train()


def loss_of(model: DetectorModel, windows: Tensor, targets: Tensor) -> Callable[[], Tensor]:
    return lambda: nn.functional.binary_cross_entropy_with_logits(model(windows).logits, targets)


def steps(batch_size: int) -> dict[str, Callable[[], None]]:
    """One step of each kind, each on a detector and an Adam of its own."""
    windows = 0.1 * torch.randn(batch_size, round(WINDOW_S * 16000))
    targets = (torch.arange(batch_size) % 2).float()

    def kind(**options: Any) -> Callable[[], None]:
        model = detector()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
        loss = loss_of(model, windows, targets)
        half = loss_of(model, windows[: batch_size // 2], targets[: batch_size // 2])
        if options.pop("half", False):
            options["ascent_loss"] = half

        def one() -> None:
            if options.get("method") == "plain":
                optimizer.zero_grad(set_to_none=True)
                loss().backward()
                optimizer.step()
            else:
                sharpness_aware_step(optimizer, loss, 0.05, model=model, **options)

        return one

    return {
        "adam": kind(method="plain"),
        "sam": kind(),
        "half-batch ascent": kind(half=True),
        "looksam(5)": kind(method="looksam", every=5),
        "asam": kind(adaptive=True),
        "gsam": kind(method="gsam"),
    }


def peak_bytes(batch_size: int, names: tuple[str, ...]) -> dict[str, int]:
    """Of each kind the most that tensors hold at any moment of its second step, beyond what they held before.

    All in one session of the profiler, which knows the sizes of what was allocated under it alone.
    """
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        kinds = steps(batch_size)
        for name in names:
            kinds[name]()
            with torch.profiler.record_function(name):
                kinds[name]()
    assert profile.profiler is not None
    events = sorted(profile.profiler.kineto_results.events(), key=lambda one: one.start_ns())
    memory = [(one.start_ns(), one.nbytes()) for one in events if one.name() == "[memory]"]
    found = {}
    for one in events:
        if one.name() in names:
            first, last = one.start_ns(), one.start_ns() + one.duration_ns()
            found[one.name()] = max(accumulate(size for moment, size in memory if first <= moment <= last))
    return found


def host_reads(**options: Any) -> int:
    model = detector()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    windows, targets = 0.1 * torch.randn(4, round(WINDOW_S * 16000)), torch.tensor([0.0, 1.0, 0.0, 1.0])
    with HostReads() as counter:
        sharpness_aware_step(optimizer, loss_of(model, windows, targets), 0.05, model=model, **options)
    return counter.count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    batch_size = arguments.batch_size
    torch.set_num_threads(1)
    kinds = steps(batch_size)
    taken: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(arguments.rounds + 1):
        # Turn about, step by step, so that other work on the machine falls on all alike.
        spent = dict.fromkeys(kinds, 0.0)
        for _ in range(CYCLE):
            for name, one in kinds.items():
                start = time.process_time()
                one()
                spent[name] += time.process_time() - start
        for name, seconds in spent.items() if turn else ():
            taken[name].append(seconds / CYCLE)
    print(
        f"one step, LCNN on log-mel, {batch_size} windows of {WINDOW_S:g} s, one thread, "
        f"median (range) of {arguments.rounds} rounds"
    )
    for name, times in taken.items():
        ratios = [one / base for one, base in zip(times, taken["adam"], strict=True)]
        wanted = f"  (wanted at most {WANTED[name]})" if name in WANTED else ""
        print(
            f"  {name:18s} {1000 * statistics.median(times):8.1f} ms   {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f}) of Adam{wanted}"
        )
    weights = sum(one.numel() * one.element_size() for one in detector().parameters())
    statistics_bytes = sum(one.nbytes for one in detector().state_dict().values()) - weights
    replayed = 2 * (statistics_bytes + torch.get_rng_state().nbytes)
    perturbed = ("sam", "half-batch ascent")
    peaks = peak_bytes(batch_size, ("adam", *perturbed))
    for name in perturbed:
        rest = peaks[name] - peaks["adam"] - weights
        print(
            f"peak memory of {name}: Adam's, one copy of the weights ({weights:,} bytes; wanted at most 1) "
            f"and {rest:,} bytes; batch-norm statistics and generators to replay are {replayed:,}"
        )
    for method in ("sam", "gsam", "looksam", "esam", "friendly"):
        print(f"values read by the host in one step of {method}: {host_reads(method=method)} (wanted at most 1)")


if __name__ == "__main__":
    main()
