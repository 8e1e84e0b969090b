"""Speed and size of evaluation, beside the plain public way: a pass over all scores for each threshold.

    python benchmarks/evaluation.py            all of it, about two minutes
    python benchmarks/evaluation.py --quick    a tenth of the sizes

One thread, medians of several runs. The plain way costs trials x thresholds, so it is timed on few trials and its
time on many is the measured one scaled by the square; the table says so.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import argparse
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import polars as pl

from veravox.evaluation import bootstrap_interval, equal_error_rate, evaluate
from veravox.tables import Protocol, Scores

PLAIN_TRIALS = 10_000


def plain_equal_error_rate(bona_fide: np.ndarray, spoof: np.ndarray) -> float:
    """One pass over all scores for each threshold, as many public scripts do."""
    best = (2.0, 0.0)
    for threshold in np.concatenate((bona_fide, spoof)):
        miss, alarm = float(np.mean(bona_fide < threshold)), float(np.mean(spoof >= threshold))
        best = min(best, (abs(miss - alarm), (miss + alarm) / 2))
    return best[1]


def seconds(work: Callable[[], object], runs: int) -> float:
    """Median processor time of several runs: with one thread, the time on a core of its own."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def normal_scores(trials: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Half bona fide, half spoof."""
    rng = np.random.default_rng(seed)
    return rng.normal(1, 1, trials // 2), rng.normal(-1, 1, trials - trials // 2)


def challenge(trials: int) -> tuple[Scores, Protocol]:
    """Scores and protocol as large as the ASVspoof 5 evaluation set: a fifth bona fide, 16 attacks."""
    rng = np.random.default_rng(1)
    spoofed = rng.random(trials) < 0.8
    attacks = np.char.add("A", (17 + rng.integers(0, 16, trials)).astype(str))
    frame = pl.DataFrame(
        {
            "utterance_id": [f"E_{index:010d}" for index in range(trials)],
            "label": np.where(spoofed, "spoof", "bonafide").tolist(),
            "attack_id": np.where(spoofed, attacks, None).tolist(),
        }
    )
    scores = rng.normal(0, 1, trials) + np.where(spoofed, -1.0, 1.0)
    return Scores(frame.select("utterance_id").with_columns(score=pl.Series(scores))), Protocol(frame)


def peak_gb() -> float:
    """Most memory this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    scale = 10 if parser.parse_args().quick else 1
    rows: list[tuple[str, str, str, str]] = []

    few = normal_scores(PLAIN_TRIALS)
    assert abs(plain_equal_error_rate(*few) - equal_error_rate(*few)) < 1e-12
    plain, ours = seconds(lambda: plain_equal_error_rate(*few), 1), seconds(lambda: equal_error_rate(*few), 9)
    rows.append(
        (f"EER, {PLAIN_TRIALS:,} trials", f"{ours * 1e3:.1f} ms", f"{plain:.2f} s", f"{plain / ours:,.0f}")
    )

    size = 680_000 // scale
    scores, protocol = challenge(size)
    work = {"by": ["attack_id"], "metrics": ["eer", "auc", "min_dcf"], "bootstrap": 200 // scale}
    took = seconds(lambda: evaluate(scores, protocol, **work), 1)  # type: ignore[arg-type]
    name = f"{size:,} trials, 16 attacks; EER, AUC, min DCF; {work['bootstrap']} rounds"
    plain_once = plain * (size / PLAIN_TRIALS) ** 2
    guess = f"~{plain_once / 3600:.1f} h for one EER"
    rows.append((name, f"{took:.1f} s, {peak_gb():.2f} GB", guess, f"{plain_once / took:,.0f}"))

    size, rounds = 100_000 // scale, 1000 // scale
    pair = normal_scores(size)
    took = seconds(lambda: bootstrap_interval(*pair, rounds=rounds), 1)
    plain_rounds = plain * (size / PLAIN_TRIALS) ** 2 * rounds
    name = f"bootstrap of EER, {size:,} trials, {rounds:,} rounds"
    rows.append((name, f"{took:.1f} s", f"~{plain_rounds / 3600:.1f} h", f"{plain_rounds / took:,.0f}"))

    size = 10_000_000 // scale
    pair = normal_scores(size)
    took = seconds(lambda: equal_error_rate(*pair), 5)
    plain_once = plain * (size / PLAIN_TRIALS) ** 2
    rows.append(
        (f"EER, {size:,} trials", f"{took:.2f} s", f"~{plain_once / 3600:.0f} h", f"{plain_once / took:,.0f}")
    )

    print("one core, processor time; ~ marks the plain way scaled from its time on 10,000 trials\n")
    for row in [("what", "veravox", "a pass a threshold", "ratio"), *rows]:
        print(f"{row[0]:<62}  {row[1]:>18}  {row[2]:>22}  {row[3]:>14}")


if __name__ == "__main__":
    main()
