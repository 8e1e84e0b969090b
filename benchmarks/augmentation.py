"""Augmentation beside the textbook, one thread, windows of 4 s at 16 kHz.

Run: python benchmarks/augmentation.py [--full]
`--full` adds how fast batches come out of a training loader, and how long training waits for them.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile

from veravox.augment import AUGMENTATIONS, RawBoost
from veravox.batches import build_chain
from veravox.degradation.suites import suite_operations
from veravox.registry import Spec

RATE_HZ, WINDOW_S, ROUNDS = 16000, 4, 31
SAMPLES = Path(__file__).parent.parent / "samples"
NEEDED = {
    "babble": {"source": str(SAMPLES / "protocol.csv")},
    "noise_folder": {"folder": str(SAMPLES / "dev" / "bonafide")},
    "impulse_response": {"folder": str(SAMPLES / "dev" / "bonafide")},
}


def speech() -> np.ndarray:
    """Four seconds of speech: short clips behind one another."""
    clips = sorted((SAMPLES / "dev" / "bonafide" / "asterisk-core-fr").glob("*.flac"))
    return np.concatenate([soundfile.read(clip, dtype="float32")[0] for clip in clips])[: WINDOW_S * RATE_HZ]


def medians_ms(
    *functions: Callable[[int], object], rounds: int = ROUNDS, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Median time of each, taken in turns so that a busy machine slows them alike; they get the round."""
    times: list[list[float]] = [[] for _ in functions]
    for turn in range(rounds + 1):
        for function, taken in zip(functions, times, strict=True):
            start = clock()
            function(turn)
            if turn:
                taken.append(1000 * (clock() - start))
    return [statistics.median(taken) for taken in times]


# RawBoost the textbook way ------------------------------------------------------------------------------------


def textbook_notch(rng: np.random.Generator, gain_db: float) -> np.ndarray:
    taps = np.ones(1)
    for _ in range(5):
        centre, width = rng.uniform(20, 8000), rng.uniform(100, 1000)
        count = int(rng.uniform(10, 100)) | 1
        low, high = max(centre - width / 2, 0.001), min(centre + width / 2, RATE_HZ / 2 - 0.001)
        taps = np.convolve(scipy.signal.firwin(count, [low, high], window="hamming", fs=RATE_HZ), taps)
    return 10 ** (gain_db / 20) * taps / np.abs(scipy.signal.freqz(taps)[1]).max()


def textbook_algorithm_5(waveform: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    mixed = np.zeros(len(waveform))
    for order in range(1, 6):
        taps = textbook_notch(rng, 0.0 if order == 1 else rng.uniform(-20, -5))
        half = len(taps) // 2
        mixed += scipy.signal.lfilter(taps, 1, np.pad(waveform**order, (0, half)))[half:]
    mixed -= mixed.mean()
    mixed /= max(1.0, np.abs(mixed).max())
    touched = rng.permutation(len(mixed))[: int(len(mixed) * rng.uniform(0, 0.1))]
    factors = (2 * rng.random(len(touched)) - 1) * (2 * rng.random(len(touched)) - 1)
    mixed[touched] += 2 * mixed[touched] * factors
    return mixed / max(1.0, np.abs(mixed).max())


def rawboost(waveform: np.ndarray) -> None:
    ours = RawBoost(5)
    fast, plain = medians_ms(
        lambda turn: ours(waveform, RATE_HZ, np.random.default_rng(turn)),
        lambda turn: textbook_algorithm_5(waveform, np.random.default_rng(turn)),
    )
    print(f"rawboost algorithm 5: {fast:.2f} ms, textbook {plain:.2f} ms: {plain / fast:.1f} times (target 4)")


# Everything else ----------------------------------------------------------------------------------------------


def every_augmentation(waveform: np.ndarray) -> None:
    print(f"\n{'augmentation':18s}ms per {WINDOW_S} s window")
    for name in AUGMENTATIONS.names():
        augmentation = AUGMENTATIONS.build(Spec(name, NEEDED.get(name, {})))

        def apply(turn: int, transform: Callable = augmentation) -> object:
            return transform(waveform, RATE_HZ, np.random.default_rng(turn))

        print(f"{name:18s}{medians_ms(apply)[0]:7.2f}")
    for names in (
        ("gain", "band_limit", "noise", "codec", "polarity"),
        tuple(name for name in AUGMENTATIONS.names() if name not in NEEDED),
    ):
        chain = build_chain([{"name": name, "probability": 0.3} for name in names])
        start = time.perf_counter()
        for seed in range(100):
            chain(waveform[: 3 * RATE_HZ], RATE_HZ, np.random.default_rng(seed))
        mean_ms = 10 * (time.perf_counter() - start)
        print(f"chain of {len(names)} at 0.3 each: mean {mean_ms:.2f} ms per 3 s window")


def suites(waveform: np.ndarray) -> None:
    for suite in ("safe-task2", "safe-task3"):
        operations = [each for each in suite_operations(suite) if each.missing() is None]
        written_s = 0.0
        with tempfile.TemporaryDirectory() as folder:
            for operation in operations:  # delays are measured once per codec, as in a real run
                operation(waveform[:RATE_HZ], RATE_HZ, 0)
            start = time.perf_counter()
            for seed in range(5):
                for operation in operations:
                    made = operation(waveform, RATE_HZ, seed)
                    path = Path(folder) / f"{operation.slug}-{seed}.flac"
                    soundfile.write(path, made.waveform, made.sample_rate_hz, subtype="PCM_16")
                    written_s += len(made.waveform) / made.sample_rate_hz
            rate = written_s / (time.perf_counter() - start)
        target = " (target 20)" if suite == "safe-task2" else ""
        print(
            f"\n{suite}, {len(operations)} operations: {rate:.1f} s of audio written per second and core{target}"
        )


def spec_augment() -> float:
    """Prints the share of SpecAugment in a training step, and gives the windows a second that training eats."""
    import torch

    from veravox.models import DetectorModel, DetectorSpec
    from veravox.models.spec_augment import SpecAugment

    torch.set_num_threads(1)
    spec = {
        "front_ends": {"mel": "log_mel"},
        "experts": {"lcnn": {"front_end": "mel", "name": "lcnn"}},
        "window_s": 3.0,
    }
    detector, augment = DetectorModel(DetectorSpec.parse(spec)).train(), SpecAugment().train()
    windows = torch.randn(32, 3 * RATE_HZ)
    features = detector.front_ends["mel"](windows)
    numbers = torch.rand(len(windows), augment.numbers)

    def step(turn: int) -> None:
        detector.zero_grad(set_to_none=True)
        detector(windows).logits.sum().backward()

    masked, stepped = medians_ms(lambda turn: augment(features, numbers), step, rounds=3, clock=time.process_time)
    share = 100 * masked / stepped
    print(f"\nSpecAugment: {masked:.2f} ms of a training step's {stepped:.0f} ms: {share:.2f} % (target 2)")
    return 1000 * len(windows) / stepped


def feeding(eaten: float) -> None:
    """Windows a second out of one loader process, beside what training an LCNN on one thread eats."""
    from veravox.audio import window_policy
    from veravox.batches import Draw, TrainingWindows
    from veravox.tables import Protocol

    protocol = Protocol.read(SAMPLES / "protocol.csv")
    rich = [{"name": name, "probability": 0.3} for name in AUGMENTATIONS.names() if name not in NEEDED]
    print()
    for title, augmentation in (("plain", []), ("rawboost", [{"name": "rawboost"}]), ("all at 0.3", rich)):
        data = TrainingWindows(protocol, window_policy("random", 3.0), augmentation, seed=0)
        data[Draw(0, 0, 0)]
        start = time.process_time()
        for position in range(len(protocol)):
            data[Draw(0, position, position)]
        rate = len(protocol) / (time.process_time() - start)
        print(f"one loader process, {title}: {rate:.0f} windows of 3 s per second; training eats {eaten:.0f}")


def syntheses(waveform: np.ndarray) -> None:
    """What a copy costs, in processor time."""
    from veravox.augment import SYNTHESES

    for name in SYNTHESES.names():
        made = SYNTHESES.build(Spec(name))
        made(waveform, RATE_HZ, np.random.default_rng(0))
        start = time.process_time()
        for turn in range(5):
            made(waveform, RATE_HZ, np.random.default_rng(turn))
        print(f"copy by {name:12s}{200 * (time.process_time() - start):7.1f} ms per {WINDOW_S} s")


def waiting(name: str, batches: int = 8) -> None:
    """How long training by a recipe, late in its curricula, waits for one loader process; one thread each."""
    import torch

    from veravox.audio import window_policy
    from veravox.batches.pairing import Pairing
    from veravox.batches.training import EpochSampler, TrainingWindows, training_loader
    from veravox.models import DetectorModel
    from veravox.recipes import recipe
    from veravox.tables import Protocol
    from veravox.training.division import Division
    from veravox.training.processes import Processes

    torch.set_num_threads(1)
    one, late = recipe(name), 20
    train, plan, masks = Protocol.read(SAMPLES / "protocol.csv"), one.stages[0].training, one.feature_masks()
    share = one.copied_share()
    data = TrainingWindows(
        train,
        window_policy("random", one.detector.window_s),
        one.augmentation,
        0,
        masks=(masks.mask_draws, masks.probability) if masks else (0, {}),
        synthesis=one.synthesis,
        splice_probability=one.splice_probability,
    )
    pairing = Pairing(train, plan.balance, share, 0) if one.synthesis else None
    draws = batches * plan.batch_size
    sampler = EpochSampler(train, plan.balance, draws, plan.batch_size, 0, pairing=pairing)
    sampler.set_position(late)
    detector = DetectorModel(one.detector).train()
    division = Division(train, plan.balance)
    learner = one.stages[0].learner(detector, division, Processes(), torch.device("cpu"), masks)
    waited, stepped, learning, before = [], [], [], time.perf_counter()
    for batch in training_loader(data, sampler, 1):
        waited.append(time.perf_counter() - before)
        before, start = time.perf_counter(), time.process_time()
        detector.zero_grad(set_to_none=True)
        one.stages[0].loss(learner, batch).backward()
        learning.append(time.process_time() - start)
        stepped.append(time.perf_counter() - before)
        before = time.perf_counter()
    loading = cpu_seconds(data, sampler)
    used = statistics.median(learning)
    idle = sum(waited[2:]) / (sum(waited[2:]) + sum(stepped[2:]))
    print(
        f"{name}: training waits {100 * idle:.1f} % of its time for one worker; {plan.batch_size} windows take "
        f"{loading:.2f} s of processor time to make and {used:.2f} s to learn from"
    )


def cpu_seconds(data: object, sampler: object) -> float:
    """Processor time of one batch's windows, the second of an epoch."""
    draws = list(sampler)[1]  # type: ignore[call-overload]
    start = time.process_time()
    for draw in draws:
        data[draw]  # type: ignore[index]
    return time.process_time() - start


def main() -> None:
    if os.environ.get("OMP_NUM_THREADS") != "1":  # libraries read it when they load
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "OMP_NUM_THREADS": "1"})
    waveform = speech()
    rawboost(waveform)
    every_augmentation(waveform)
    suites(waveform)
    eaten = spec_augment()
    if "--full" in sys.argv:
        feeding(eaten)
        syntheses(waveform)
        for name in ("mile_slim", "mile_slim_hard"):
            waiting(name)


if __name__ == "__main__":
    main()
