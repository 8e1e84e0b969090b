"""Mutated recordings against the decoders: no crash, no hang, no memory beyond all sense, nothing but one line.

    python tests/fuzz/decoding.py --files 100000 --seed 1

The bundled clips are encoded in every kind that FFmpeg can write here. One file in six is cut; the others suffer a
few flipped, blanked, removed or doubled bytes, cuts, header numbers out of all sense, or junk before or after. A
fault is an error that is none of ours, a message of several lines, more than 20 s of processor time, a process of
more than 1 GB, samples that are not finite, or a cut file read as whole where its format can know. The mutation of
a number and a seed is always the same, so a fault can be made again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

from recordings import encode  # noqa: E402
from veravox.audio import Limits, pool, read_audio  # noqa: E402
from veravox.errors import AudioError  # noqa: E402

MAX_S = 20.0
MAX_MB = 1000.0
SLACK = 4000  # samples at 16 kHz that may be lost by a cut: what a lossy container's length is off by
# container and encoder; those that this FFmpeg cannot write are left out
KINDS = (
    *(("wav", codec) for codec in ("pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le", "pcm_mulaw", "pcm_alaw")),
    *(("wav", codec) for codec in ("adpcm_ms", "adpcm_ima_wav", "libmp3lame", "g723_1", "gsm_ms")),
    *(("w64", codec) for codec in ("pcm_s16le", "pcm_f32le")),
    *(("aiff", codec) for codec in ("pcm_s16be", "pcm_alaw")),
    *(("au", codec) for codec in ("pcm_s16be", "pcm_mulaw")),
    *(("caf", codec) for codec in ("pcm_s16le", "alac")),
    *(("mov", codec) for codec in ("aac", "alac", "pcm_s16le", "libmp3lame")),
    *(("ipod", codec) for codec in ("aac", "alac")),
    *(("matroska", codec) for codec in ("aac", "libopus", "libvorbis", "flac", "pcm_s16le", "ac3", "libmp3lame")),
    *(("webm", codec) for codec in ("libopus", "libvorbis")),
    *(("ogg", codec) for codec in ("libopus", "libvorbis", "flac", "libspeex")),
    *(("avi", codec) for codec in ("pcm_s16le", "libmp3lame", "ac3")),
    *(("flv", codec) for codec in ("libmp3lame", "aac")),
    *(("asf", codec) for codec in ("wmav1", "wmav2")),
    *(("mpegts", codec) for codec in ("aac", "mp2", "ac3", "libmp3lame")),
    *(("flac", "flac"), ("mp3", "libmp3lame"), ("mp2", "mp2"), ("adts", "aac"), ("ac3", "ac3"), ("eac3", "eac3")),
    *(("wv", "wavpack"), ("tta", "tta"), ("voc", "pcm_u8"), ("amr", "libopencore_amrnb"), ("mpeg", "mp2")),
)
# A cut between two frames of these leaves a whole, shorter recording for all that anybody can tell.
STATES_NOTHING = ("mp2", "adts", "ac3", "eac3", "amr", "mpegts", "mpeg")
RATES_HZ = {"libopus": 48000, "libopencore_amrnb": 8000, "g723_1": 8000, "gsm_ms": 8000, "libmp3lame": 22050}


def originals(folder: Path) -> dict[str, bytes]:
    """A bundled clip in every kind, and those with many channels."""
    clips = sorted((ROOT / "samples").rglob("*.flac"))
    files: dict[str, bytes] = {}
    for index, (container, codec) in enumerate(KINDS):
        rate_hz = RATES_HZ.get(
            codec, 16000 if container not in ("mpegts", "mpeg", "avi", "eac3", "ac3") else 48000
        )
        clip = read_audio(clips[index % len(clips)], rate_hz, max_s=1.0)
        for channels in (1, 8) if codec in ("aac", "libopus", "wavpack", "pcm_s16le", "flac", "alac") else (1,):
            sound = np.repeat(clip[:, None], channels, axis=1)
            with contextlib.suppress(av.FFmpegError, ValueError, KeyError):
                path = encode(folder / "made", sound, codec, container, rate_hz)
                files[f"{container} {codec} {channels}"] = path.read_bytes()
    return files


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to three kinds of damage."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            break
        where = int(rng.integers(len(data))) if rng.random() < 0.6 else int(rng.integers(min(len(data), 256)))
        count = int(rng.integers(1, 1 + min(200, len(data))))
        match int(rng.integers(8)):
            case 0:
                data[where] ^= 1 << int(rng.integers(8))
            case 1:
                data[where : where + count] = bytes(len(data[where : where + count]))
            case 2:
                del data[where : where + count]
            case 3:
                data[where:where] = data[where : where + count]
            case 4:
                del data[where:]
            case 5:
                number = (0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)[int(rng.integers(8))]
                order = "big" if rng.random() < 0.5 else "little"
                data[where : where + 4] = number.to_bytes(4, order)[: len(data[where : where + 4])]
            case 6:
                data[:0] = rng.bytes(count)
            case _:
                data += rng.bytes(count) if rng.random() < 0.5 else data[:count]
    return bytes(data)


def children_mb() -> float:
    """Peak memory of the largest worker alive."""
    peak = 0.0
    for worker in pool.POOL._idle:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{worker.process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    peak = max(peak, int(line.split()[1]) / 1000)
    return peak


def own_peak_mb() -> float:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def attempt(content: bytes, least: int = 0, before_mb: float = 0.0) -> tuple[str, str | None]:
    """What became of one file, and its fault if there is one; fewer samples than `least` are one.

    This process held up to `before_mb` before the first file; memory beyond that is the file's.
    """
    start_s, times = time.process_time(), os.times()
    try:
        heard = read_audio(content, limits=Limits(sound_s=3600, decode_s=15))
        outcome, fault = "read", None if np.isfinite(heard).all() else "samples that are not finite"
        if len(heard) < least:
            fault = f"cut short and read as whole, {len(heard)} samples"
    except AudioError as error:
        text = str(error)
        outcome = "crash of a worker, contained" if "decoder crash" in text else "refused"
        fault = "a message of several lines" if "\n" in text else None
    except MemoryError:
        outcome, fault = "error", "memory"
    except Exception as error:
        outcome, fault = "error", f"{type(error).__name__}: {error}"
    spent_s = time.process_time() - start_s + os.times().children_user - times.children_user
    if spent_s > MAX_S:
        fault = fault or f"{spent_s:.0f} s of processor time"
    peak_mb = max(children_mb(), own_peak_mb() - before_mb)
    if peak_mb > MAX_MB:
        fault = fault or f"{peak_mb:.0f} MB"
    return outcome, fault


def fuzz(files: int, seed: int, minutes: float = float("inf"), kinds: dict[str, bytes] | None = None) -> dict:
    """Decode mutated files; counts of outcomes, and the faults by the number of their file."""
    if kinds is None:
        with tempfile.TemporaryDirectory() as folder:
            kinds = originals(Path(folder))
    names = sorted(kinds)
    whole = {name: len(read_audio(kinds[name])) for name in names}
    outcomes: collections.Counter[str] = collections.Counter()
    faults: dict[int, str] = {}
    slowest_s, begin_s, before_mb = 0.0, time.monotonic(), own_peak_mb()
    for number in range(files):
        if time.monotonic() - begin_s > 60 * minutes:
            break
        name = names[number % len(names)]
        start_s = time.monotonic()
        rng, content, least = np.random.default_rng((seed, number)), kinds[name], 0
        if number % 6 == 5:
            content = content[: int(rng.integers(1, len(content)))]
            least = 0 if name.split()[0] in STATES_NOTHING else whole[name] - SLACK
        else:
            content = mutated(content, rng)
        outcome, fault = attempt(content, least, before_mb)
        slowest_s = max(slowest_s, time.monotonic() - start_s)
        outcomes[outcome] += 1
        if outcome.startswith("crash"):
            print(f"file {number} ({name}): {outcome}", file=sys.stderr)
        if fault:
            faults[number] = f"{name}: {fault}"
    return {"kinds": len(names), "outcomes": dict(outcomes), "slowest_s": round(slowest_s, 2), "faults": faults}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    result = fuzz(options.files, options.seed, options.minutes)
    print(result)
    sys.exit(1 if result["faults"] else 0)


if __name__ == "__main__":
    main()
