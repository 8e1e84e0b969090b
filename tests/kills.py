"""Commands that are killed at random moments, and what they leave: run by hand, not by pytest.

    python tests/kills.py [--kills 50] [--only score train degrade make] [--seed 0]

Each command runs once undisturbed, then again and again in a folder of its own, killed with its children (SIGKILL)
at a random moment, `--kills` times in all, and is run to its end every few kills. Its results must be those of
the undisturbed run, and at no moment may a result lie there that is not whole.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SAMPLES = Path(__file__).parent.parent / "samples"
KILLS_IN_A_ROW = 5
WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class Job:
    """A command, what it writes into `{out}`, and what may differ between two runs.

    Args:
        words: the command; `{out}` is its folder.
        again: words that are added after a kill.
        results: from the folder to name and digest of everything that must be equal in the end.
    """

    words: tuple[str, ...]
    again: tuple[str, ...]
    results: Callable[[Path], dict[str, str]]


def files_of(folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Digest of each whole file, by its path in the folder; hidden files and parts of blocks are not results."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.suffix in suffixes
        and not any(part.startswith(".") or part.endswith(".parts") for part in path.parts)
    }


def _unfinished(name: str) -> bool:
    return name.startswith(".") or name.endswith(".parts")


def weights_of(folder: Path) -> dict[str, str]:
    """Digest of the tensors of every detector in the folder."""
    from safetensors.numpy import load_file

    digests = {}
    for path in sorted(folder.rglob(f"*{WEIGHTS}")):
        digest = hashlib.sha256()
        for name, tensor in sorted(load_file(path).items()):
            digest.update(name.encode() + tensor.tobytes())
        digests[str(path.relative_to(folder))] = digest.hexdigest()
    return digests


def jobs(folder: Path) -> dict[str, Job]:
    """The commands, on lists written into a folder."""
    lines = (SAMPLES / "protocol.csv").read_text(encoding="utf-8").splitlines()
    columns = lines[0].split(",")
    rows = [dict(zip(columns, line.split(","), strict=True)) for line in lines[1:]]
    listed = [
        f"{row['utterance_id']}_{turn},{SAMPLES / row['path']},{row['label']}\n"
        for turn in range(4)
        for row in rows
    ]
    table, few = folder / "many.csv", folder / "few.csv"
    table.write_text("".join(["utterance_id,path,label\n", *listed]))
    few.write_text("".join(["utterance_id,path,label\n", *listed[:12]]))
    protocol = SAMPLES / "protocol.csv"
    settings = ("training.epochs=3", "training.draws=32", "training.batch_size=8")
    train = ["train", "slim_expert", "--data", f"corpus={protocol}", "--out", "{out}/run", "--device", "cpu", "-q"]
    train += [word for setting in settings for word in ("--set", setting)]
    score = ["score", str(table), "--model", "mile-slim", "--out", "{out}/s.csv", "--threads", "1", "-q"]
    degrade = ["degrade", str(few), "--suite", "safe-task2", "--out", "{out}/copies", "-q"]
    make = [
        "protocol",
        "make",
        "table",
        str(table),
        "--out",
        "{out}/made.parquet",
        "--scan",
        "--workers",
        "1",
        "-q",
    ]
    return {
        "score": Job(tuple(score), ("--resume",), lambda out: files_of(out, (".csv",))),
        "train": Job((*train, "--workers", "0", "--threads", "1"), ("--resume",), weights_of),
        "degrade": Job(tuple(degrade), (), lambda out: files_of(out, (".flac", ".csv"))),
        "make": Job((*make, "--workers", "1", "-q"), (), lambda out: files_of(out, (".parquet", ".csv"))),
    }


def run(job: Job, out: Path, again: bool, kill_after_s: float | None = None) -> bool:
    """Run the command; True if it came to its end, False if it was killed first."""
    words = [word.replace("{out}", str(out)) for word in job.words] + list(job.again if again else ())
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "veravox", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        _, errors = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return False
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}: {errors.decode(errors='replace')}")
    return True


def compare(name: str, found: Mapping[str, str], expected: Mapping[str, str], whole: bool) -> None:
    """Every result that is there equals the undisturbed one; `whole` if all must be there."""
    wrong = [path for path, digest in found.items() if expected.get(path) != digest]
    missing = [path for path in expected if path not in found] if whole else []
    if wrong or missing:
        raise SystemExit(f"{name}: different {wrong}, missing {missing}")


def torture(name: str, job: Job, folder: Path, kills: int, chance: random.Random) -> None:
    """Kill a job so often, and compare what it leaves with what it gives undisturbed."""
    calm = folder / f"{name}-calm"
    calm.mkdir()
    started = time.monotonic()
    run(job, calm, again=False)
    needed_s = time.monotonic() - started
    expected = job.results(calm)
    assert expected, f"{name} wrote nothing"
    done = finished = 0
    while done < kills:
        out = folder / f"{name}-{done}"
        out.mkdir()
        again = False
        for _ in range(min(KILLS_IN_A_ROW, kills - done)):
            ended = run(job, out, again, kill_after_s=chance.uniform(0, needed_s))
            again, done, finished = True, done + 1, finished + ended
            if name != "train":  # a run folder keeps the detector of each finished epoch: whole, and not the last
                compare(name, job.results(out), expected, whole=False)
        run(job, out, again)
        compare(name, job.results(out), expected, whole=True)
        left = [str(path) for path in out.rglob("*") if path.name.endswith((".lock", ".parts"))]
        assert not left, f"{name} left {left}"
        shutil.rmtree(out)
    print(
        f"{name}: {kills} kills ({finished} came too late), results equal, {needed_s:.1f} s undisturbed",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each command")
    parser.add_argument("--only", nargs="+", help="of these commands")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name, job in jobs(Path(folder)).items():
            if not options.only or name in options.only:
                torture(name, job, Path(folder), options.kills, random.Random(f"{options.seed} {name}"))


if __name__ == "__main__":
    main()
