"""How fast datasets are read, scanned and checked, beside what public repositories do.

    python benchmarks/corpora.py [--trials N] [--files N] [--fingerprints N ...] [--placed]

The comparison in "row by row" needs pandas, which veravox itself does not use; without it that line is left out.
Beside the time of the clock stands the processor's, which other work does not lengthen; ratios are of that.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from veravox.audio.decode import read_audio
from veravox.corpora.checking.check import check
from veravox.corpora.checking.fingerprint import fingerprint
from veravox.corpora.checking.fingerprint_store import FingerprintStore
from veravox.corpora.checking.near_duplicates import near_duplicates
from veravox.corpora.checking.scan import scan
from veravox.corpora.reading.corpus import read_corpus
from veravox.tables import Protocol, read_protocol

SAMPLES = Path(__file__).parent.parent / "samples"


def timed(work: Callable[[], object], times: int = 3) -> float:
    """Median seconds of some runs."""
    return clocked(work, times)[0]


def clocked(work: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """Median seconds of some runs, by the clock and of this process on all processors."""
    seconds, busy = [], []
    for _ in range(times):
        start, before = time.perf_counter(), time.process_time()
        work()
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - before)
    return statistics.median(seconds), statistics.median(busy)


def both(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.2f} s ({pair[1]:.2f} s of processor)"


def write_asvspoof5(folder: Path, trials: int) -> Path:
    """A made-up eval key of ASVspoof 5 in the real format."""
    rng = np.random.default_rng(5)
    speakers, attacks, codecs = (
        rng.integers(0, 737, trials),
        rng.integers(17, 33, trials),
        rng.integers(0, 12, trials),
    )
    bona_fide = rng.random(trials) < 138_688 / 680_774
    lines = []
    for i in range(trials):
        name = f"E_{i * 7919 % 10**10:010d}"
        coded = f"C{codecs[i]:02d} {1 + i % 8} {name}" if codecs[i] else "- 0 -"
        what = "- bonafide bonafide" if bona_fide[i] else f"AC{1 + i % 3} A{attacks[i]} spoof"
        lines.append(f"E_{speakers[i]:04d} {name} {'FM'[i % 2]} {coded} {what} -\n")
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "ASVspoof5.eval.track_1.tsv"
    key.write_text("".join(lines))
    return key


def row_by_row(key: Path, out: Path) -> None:
    """The usual reader: a loop over the rows of a DataFrame that appends a dictionary for each."""
    import pandas as pd

    table = pd.read_csv(key, sep=" ", header=None)
    table.columns = [f"column_{i + 1}" for i in range(table.shape[1])]
    records = []
    for _, row in table.iterrows():
        record = row.to_dict()
        record["path"] = os.path.join("flac_E_eval", record["column_2"] + ".flac")
        record["label"] = "bonafide" if row["column_9"] == "bonafide" else "spoof"
        records.append(record)
    pd.DataFrame(records).to_csv(out, index=False)


def read_once(folder: Path, out: Path) -> None:
    read_corpus("asvspoof5", folder, "eval").protocol.write(out)


def reading(folder: Path, trials: int, placed: bool) -> None:
    key = write_asvspoof5(folder, trials)
    ours = clocked(lambda: read_once(folder, folder / "eval.parquet"))
    print(f"ASVspoof 5 eval, {trials} rows to Parquet: {both(ours)}")
    if placed:
        names = pl.read_parquet(folder / "eval.parquet")["utterance_id"]
        (folder / "flac_E_eval").mkdir()
        for name in names:
            (folder / f"flac_E_eval/{name}.flac").touch()
        found = clocked(lambda: read_once(folder, folder / "p.parquet"))
        print(f"  with all {trials} files in place, each found: {both(found)}")
    try:
        import pandas  # noqa: F401
    except ImportError:
        print("  row by row: pandas is not installed")
    else:
        theirs = clocked(lambda: row_by_row(key, folder / "rows.csv"), times=1)
        print(f"  row by row with pandas: {both(theirs)}; ratio {theirs[1] / ours[1]:.0f}")
    protocol = read_protocol(folder / "eval.parquet")
    checked = timed(lambda: check([protocol], audio=False))
    print(f"  leaks, balance and schema of it, audio left alone: {checked:.2f} s")


def plain_scan(paths: list[str]) -> None:
    """What a short script does: read, take the length and a hash; no fingerprint, no resampling, no checks."""
    for path in paths:
        samples, rate = soundfile.read(path, dtype="float32")
        hashlib.md5(samples.tobytes()).hexdigest()
        len(samples) / rate


def busy_share(work: Callable[[], object]) -> tuple[float, float, float]:
    """Seconds that some work takes, its own processor seconds, and how many processors it wanted meanwhile.

    Wanted is the time that its processes ran or stood in line (Linux): on a machine with other work, what they
    would have kept busy alone. The rest is waiting for the disk, or for each other.
    """
    start = time.perf_counter()
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    done = threading.Event()
    wanted: dict[str, tuple[float, float]] = {}
    watcher = threading.Thread(target=_watch, args=(done, wanted))
    watcher.start()
    work()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    now = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    own = sum(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(used, now, strict=True))
    spans = [last - first for first, last in wanted.values()]
    return seconds, own, sum(spans) / seconds if spans else float("nan")


def _watch(done: threading.Event, wanted: dict[str, tuple[float, float]]) -> None:
    """Per process of ours (this one and its children): seconds run or in line, at first and at last sight."""
    while True:
        last = done.wait(0.2)
        children = Path(f"/proc/self/task/{os.getpid()}/children")
        try:
            processes = [str(os.getpid()), *children.read_text().split()]
        except OSError:
            return
        for process in processes:
            try:
                threads = [path.read_text().split() for path in Path(f"/proc/{process}/task").glob("*/schedstat")]
            except OSError:
                continue
            seconds = sum(int(ran) + int(waited) for ran, waited, *_ in threads) / 1e9
            wanted[process] = (wanted.get(process, (seconds, 0))[0], seconds)
        if last:
            return


def scanning(folder: Path, files: int) -> None:
    source = read_protocol(SAMPLES / "protocol.csv").audio_paths()
    (folder / "clips").mkdir(parents=True)
    paths = []
    for i in range(files):
        path = folder / f"clips/{i:06d}.flac"
        path.write_bytes(Path(source[i % len(source)]).read_bytes())
        paths.append(str(path))
    protocol = Protocol(pl.DataFrame({"utterance_id": paths, "path": paths}))
    plain = timed(lambda: plain_scan(paths), times=1)
    print(f"scan of {files} files (FLAC, 1.2 s on average)")
    print(f"  a plain loop, length and hash only: {plain:.1f} s, {files / plain:.0f} files/s")
    for workers in (1, 2):
        seconds, own, wanted = busy_share(lambda n=workers: scan(protocol, folder / f"scan{n}.parquet", n))
        print(
            f"  {workers} processes: {seconds:.1f} s, {files / seconds:.0f} files/s, {own:.1f} s of its own "
            f"({own / seconds:.2f} cores), {wanted:.2f} cores wanted; ratio {plain / seconds:.2f}"
        )
    again = timed(lambda: scan(protocol, folder / "scan2.parquet"))
    print(f"  again, from the cache: {again:.2f} s")
    print(f"  its fingerprint costs {_fingerprint_ms(source):.1f} ms a file")


def _fingerprints(count: int, related: bool) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Made-up clips of about 4 s: a mix of four bundled ones with a fifth of their codes lost, or random codes."""
    rng = np.random.default_rng(0)
    paths = read_protocol(SAMPLES / "protocol.csv").audio_paths()
    clips = [fingerprint(read_audio(path, 16000)) for path in paths]
    for _ in range(count):
        mixed = [clips[index] for index in rng.integers(0, len(clips), 4)]
        starts = np.cumsum([0, *(int(frames.max(initial=0)) + 9 for _, frames in mixed[:-1])])
        codes = np.concatenate([codes for codes, _ in mixed])
        frames = np.concatenate([frames + start for (_, frames), start in zip(mixed, starts, strict=True)])
        kept = rng.random(len(codes)) < 0.8
        noise = 0 if related else rng.integers(0, 2**14, len(codes), dtype=np.uint32)
        yield (codes ^ noise)[kept], frames[kept].astype(np.uint16)


def _index(count: int, related: bool) -> tuple[int, float, float, float]:
    """Pairs that were found, seconds of processor, peak memory and disk in GB, of a process of its own."""
    with tempfile.TemporaryDirectory() as folder, FingerprintStore(folder) as store:
        for codes, frames in _fingerprints(count, related):
            store.add(codes, frames)
        before = time.process_time()
        pairs = len(near_duplicates(store))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if sys.platform == "linux" else 1)
        return pairs, time.process_time() - before, peak / 1e9, 6 * int(store.sizes.sum()) / 1e9


def indexing(counts: Sequence[int]) -> None:
    print("near-duplicates among fingerprints of 4 s, each count in a process of its own")
    for related in (False, True):
        for count in counts:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                pairs, seconds, peak, disk = pool.submit(_index, count, related).result()
            print(
                f"  {count} {'related' if related else 'unrelated'}: {pairs} pairs, {seconds:.1f} s of processor, "
                f"peak {peak:.2f} GB, fingerprints {disk:.2f} GB on disk",
                flush=True,
            )


def _fingerprint_ms(paths: list[str]) -> float:
    waves = [read_audio(path, 16000) for path in paths[:100]]
    return 1000 * timed(lambda: [fingerprint(wave) for wave in waves]) / len(waves)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--trials", type=int, default=680_774)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--fingerprints", type=int, nargs="+", default=[4_000, 16_000, 64_000])
    parser.add_argument("--only-fingerprints", action="store_true", help="leave out reading and scanning")
    parser.add_argument("--placed", action="store_true", help="also make every file (empty) and find it")
    options = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, polars with {pl.thread_pool_size()} threads")
    indexing(options.fingerprints)
    if options.only_fingerprints:
        return
    with tempfile.TemporaryDirectory() as folder:
        reading(Path(folder) / "asvspoof5", options.trials, options.placed)
        scanning(Path(folder) / "scan", options.files)


if __name__ == "__main__":
    main()
