"""Seconds of audio decoded and resampled per second, beside what a user would pick instead; one thread.

Instead: soundfile reads the whole and scipy.signal.resample_poly resamples it, or PyAV decodes the whole and its
resampler converts it. Each figure is the median of several rounds, the ways taken in turn.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from math import gcd
from pathlib import Path

import av
import numpy as np
import soundfile
from scipy.signal import resample_poly

from veravox.audio import QualityMeter, open_audio, read_audio

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from recordings import encode, speech_like

SECONDS = 120.0
CLIP_S = 4.0
ROUNDS = 7


def by_soundfile(path: Path) -> np.ndarray:
    waveform, rate = soundfile.read(path, dtype="float32", always_2d=True)
    shared = gcd(rate, 16000)
    return resample_poly(waveform.mean(axis=1), 16000 // shared, rate // shared)


def by_pyav(path: Path) -> np.ndarray:
    resampler = av.AudioResampler("flt", "mono", 16000)
    with av.open(str(path)) as container:
        pieces = [
            piece.to_ndarray()[0] for frame in container.decode(audio=0) for piece in resampler.resample(frame)
        ]
    return np.concatenate(pieces + [piece.to_ndarray()[0] for piece in resampler.resample(None)])


def streamed(path: Path) -> int:
    with open_audio(path) as stream:
        return sum(map(len, stream))


def measured(path: Path) -> None:
    meter = QualityMeter()
    with open_audio(path) as stream:
        for block in stream:
            meter.update(block)
    meter.result()


def median_s(ways: dict[str, Callable[[Path], object]], path: Path, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way(path)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(own) for name, own in times.items()}


def write_files(folder: Path, seconds: float) -> dict[str, Path]:
    files = {}
    for name, rate in (("wav 16 kHz", 16000), ("flac 16 kHz", 16000), ("flac 44.1 kHz", 44100)):
        files[name] = folder / f"{name.replace(' ', '-')}-{seconds:.0f}.{name.split()[0]}"
        soundfile.write(files[name], speech_like(seconds, rate, 2 if rate > 16000 else 1), rate)
    stereo = speech_like(seconds, 44100, 2)
    for name, codec, container in (("mp3 44.1 kHz", "libmp3lame", None), ("m4a 44.1 kHz", "aac", "ipod")):
        files[name] = encode(folder / f"{seconds:.0f}.{name.split()[0]}", stereo, codec, container, 44100)
    opus = folder / f"{seconds:.0f}.opus"
    files["opus 48 kHz"] = encode(opus, speech_like(seconds, 48000), "libopus", None, 48000)
    return files


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        print("1 thread; x real time, median; ratio = veravox over the alternative")
        print(
            f"{'file':14}{'streamed':>10}{'read whole':>12}{'soundfile+scipy':>17}{'ratio':>7}"
            f"{'PyAV':>8}{'ratio':>7}"
        )
        for name, path in write_files(Path(folder), SECONDS).items():
            ways: dict[str, Callable[[Path], object]] = {
                "streamed": streamed,
                "whole": read_audio,
                "pyav": by_pyav,
            }
            if not name.startswith("m4a"):
                ways["soundfile"] = by_soundfile
            speed = {way: SECONDS / taken for way, taken in median_s(ways, path, ROUNDS).items()}
            ours, other = speed["streamed"], speed.get("soundfile")
            print(
                f"{name:14}{ours:10.0f}{speed['whole']:12.0f}"
                + (f"{other:17.0f}{ours / other:7.2f}" if other else f"{'cannot':>17}{'':7}")
                + f"{speed['pyav']:8.0f}{ours / speed['pyav']:7.2f}"
            )
        print(f"\nmilliseconds for one clip of {CLIP_S:.0f} s: read whole, soundfile+scipy, PyAV")
        for name, path in write_files(Path(folder), CLIP_S).items():
            ways = {"whole": read_audio, "pyav": by_pyav}
            if not name.startswith("m4a"):
                ways["soundfile"] = by_soundfile
            taken = median_s(ways, path, 5 * ROUNDS)
            print(
                f"{name:14}"
                + "".join(f"{1000 * taken.get(way, float('nan')):10.2f}" for way in ("whole", "soundfile", "pyav"))
            )
        wav = write_files(Path(folder), SECONDS)["wav 16 kHz"]
        both = median_s({"plain": streamed, "measured": measured}, wav, ROUNDS)
        print(f"\nquality meter: {1000 * (both['measured'] - both['plain']) / SECONDS:.2f} ms per second of audio")


if __name__ == "__main__":
    main()
