"""How fast the bundled mixture scores on one thread: beside AASIST, end to end, from cold, a long recording.

Run: python benchmarks/scoring.py
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

import veravox
from veravox.models import DetectorModel, DetectorSpec

ROUNDS = 5
SAMPLES = Path(__file__).parent.parent / "samples"


def medians(*functions: Callable[[], object]) -> list[float]:
    """Median seconds of each, taken in turns so that a busy machine slows them alike; a round to warm up."""
    times: list[list[float]] = [[] for _ in functions]
    for number in range(ROUNDS + 1):
        for function, taken in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            if number:
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def beside_aasist() -> None:
    """Seconds of audio judged per second: the mixture beside AASIST as this package and as the public has it."""
    from plain_aasist import PlainAASIST

    mixture = veravox.load_detector(device="cpu").model
    spec = {
        "front_ends": {"waveform": "waveform"},
        "experts": {"aasist": {"front_end": "waveform", "name": "aasist"}},
        "window_s": 64600 / 16000,
    }
    aasist = DetectorModel(DetectorSpec.parse(spec)).eval()
    plain = PlainAASIST(64, (0.5, 0.7, 0.5)).eval()
    ours, theirs = 0.1 * torch.randn(16, mixture.spec.window_samples), 0.1 * torch.randn(4, 64600)
    with torch.inference_mode():
        taken = medians(lambda: mixture(ours), lambda: aasist(theirs), lambda: plain(theirs))
    rates = [ours.numel() / 16000 / taken[0], theirs.numel() / 16000 / taken[1], theirs.numel() / 16000 / taken[2]]
    print("judging, seconds of audio per second")
    for name, rate in zip(("bundled mixture", "AASIST (ours)", "AASIST (public way)"), rates, strict=True):
        print(f"  {name:22} {rate:8.1f}   mixture / this: {rates[0] / rate:5.1f}")


def end_to_end(folder: Path, clips: int = 1000) -> None:
    """Share of a run's time that the model takes, and time spent waiting for decoded audio."""
    sources = sorted(SAMPLES.rglob("*.flac"))
    paths = []
    for number in range(clips):
        paths.append(folder / f"clip{number:04d}.flac")
        paths[-1].write_bytes(sources[number % len(sources)].read_bytes())
    checkpoint = veravox.load_detector(device="cpu")
    spent = {"model": 0.0}
    forward = checkpoint.model.forward

    def timed(windows: torch.Tensor) -> object:
        start = time.perf_counter()
        result = forward(windows)
        spent["model"] += time.perf_counter() - start
        return result

    checkpoint.model.forward = timed  # type: ignore[method-assign, assignment]
    start = time.perf_counter()
    veravox.score(checkpoint, veravox.protocol_from_paths(paths), workers=1)
    whole = time.perf_counter() - start
    print(f"{clips} clips end to end: {whole:.1f} s, {100 * spent['model'] / whole:.0f} % of it in the model")


def timed_command(*arguments: str) -> float:
    """Median seconds of a whole process."""

    def run() -> None:
        subprocess.run([sys.executable, "-m", "veravox", *arguments], check=True, capture_output=True)

    return medians(run)[0]


def cold_starts(folder: Path) -> None:
    """From nothing to a score, and to the help."""
    rng = np.random.default_rng(0)
    soundfile.write(folder / "four.wav", 0.1 * rng.standard_normal(64000), 16000)
    taken = timed_command("score", str(folder / "four.wav"), "--threads", "1")
    print(f"one 4 s clip from a cold start: {taken:.2f} s")
    print(f"veravox --help: {timed_command('--help'):.2f} s")


def long_recording(folder: Path, hours: float = 3.0) -> None:
    """Peak memory of scoring a long recording, as the operating system counts it for the whole process."""
    rng = np.random.default_rng(0)
    path = folder / "long.wav"
    with soundfile.SoundFile(path, "w", 16000, 1) as file:
        for _ in range(round(hours * 60)):
            file.write(0.1 * rng.standard_normal(60 * 16000))
    start = time.perf_counter()
    command = [sys.executable, "-m", "veravox", "score", str(path), "--threads", "1", "-q"]
    subprocess.run(command, check=True, capture_output=True)
    taken = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    print(
        f"{hours:g} hours: {taken:.0f} s ({hours * 3600 / taken:.0f} times real time), peak memory {peak:.2f} GB"
    )


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        long_recording(folder)  # first: a child's peak is counted from the size of its parent on
        cold_starts(folder)
        end_to_end(folder)
    beside_aasist()


if __name__ == "__main__":
    main()
