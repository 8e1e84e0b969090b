"""An audio fingerprint: pairs of spectral peaks, as in music recognition, with settings for short speech.

Chromaprint, the well-kept library, describes music by its chords over many seconds and gives a three-second
utterance a dozen numbers, which many utterances share. Peaks outlive gain, trimming, resampling, lossy codecs
and noise, and two recordings of one text by one speaker do not share them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import scipy.fft
import scipy.ndimage

SAMPLE_RATE_HZ = 16000
HEARD_S = 30.0
"""Only the first half minute is heard."""

FRAME, HOP = 1024, 128  # 64 ms, 8 ms
LOWEST_HZ, HIGHEST_HZ = 200.0, 3600.0  # inside a telephone line
NEIGHBOURS = (15, 11)  # frames, bands: a peak is the largest among them
RANGE_DB = 40.0
PEAKS_PER_S = 20
PARTNERS = 8
FARTHEST = 80  # frames between two peaks of a pair
BAND_STEP, FRAME_STEP = 3, 4  # coarse enough that a cut between two frames changes few codes
MIN_SHARED = 10
MIN_SHARE = 0.25
MIN_TRIPLES = 3
COMMON = 50
"""A triple of peaks found in more recordings than this tells nothing."""


def fingerprint(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of spectral peaks of a recording.

    Args:
        waveform: float32, shape (samples,), at 16 kHz; its level does not matter.
    Returns:
        Codes (uint32), one a pair: two frequencies and the time between; and the frame (uint16) of the first peak.
        Both empty for silence, or less than a frame.
    Source:
        Wang, An industrial-strength audio search algorithm, ISMIR 2003.
    """
    times, bands = _peaks(waveform[: int(HEARD_S * SAMPLE_RATE_HZ)])
    codes, frames = [], []
    for step in range(1, PARTNERS + 1):
        if len(times) <= step:
            break
        apart = times[step:] - times[:-step]
        near = (apart > 0) & (apart <= FARTHEST)
        first, second = (bands[:-step] + 1) // BAND_STEP, (bands[step:] + 1) // BAND_STEP
        time = (apart + FRAME_STEP // 2) // FRAME_STEP
        codes.append(((first << 14) | (second << 6) | time)[near])
        frames.append(times[:-step][near])
    if not codes:
        return np.zeros(0, np.uint32), np.zeros(0, np.uint16)
    return np.concatenate(codes).astype(np.uint32), np.concatenate(frames).astype(np.uint16)


def _peaks(waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frame and band of the strongest local maxima, in order of time."""
    empty = np.zeros(0, np.int64)
    if len(waveform) < FRAME:
        return empty, empty
    frames = np.lib.stride_tricks.sliding_window_view(waveform, FRAME)[::HOP]
    spectrum = np.abs(scipy.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1))
    low, high = (round(hz * FRAME / SAMPLE_RATE_HZ) for hz in (LOWEST_HZ, HIGHEST_HZ))
    power = spectrum[:, low:high].astype(np.float32)  # (T, K)
    loudest = float(power.max())
    if loudest <= 0.0:
        return empty, empty
    top = scipy.ndimage.maximum_filter(power, size=NEIGHBOURS, mode="constant")
    times, bands = np.nonzero((power == top) & (power > loudest * 10.0 ** (-RANGE_DB / 20.0)))
    wanted = max(4, round(PEAKS_PER_S * len(waveform) / SAMPLE_RATE_HZ))
    if len(times) > wanted:
        strongest = np.sort(np.argsort(-power[times, bands], kind="stable")[:wanted])
        times, bands = times[strongest], bands[strongest]
    return times.astype(np.int64), bands.astype(np.int64)


def near_duplicates(codes: Sequence[np.ndarray], frames: Sequence[np.ndarray]) -> pl.DataFrame:
    """Pairs of recordings that share their peaks at one offset in time.

    Args:
        codes: of each recording, as `fingerprint` gives them.
        frames: the same.
    Returns:
        `first`, `second` (positions, first < second), `shared` (codes at the best offset), `share` (of the codes
        of the one that has fewer), sorted.
    """
    sizes = np.array([len(item) for item in codes], np.int64)
    schema = {"first": pl.UInt32, "second": pl.UInt32, "shared": pl.UInt32, "share": pl.Float64}
    if not sizes.sum():
        return pl.DataFrame(schema=schema)
    table = pl.DataFrame(
        {
            "item": np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes),
            "code": np.concatenate(codes).astype(np.uint32),
            "frame": np.concatenate(frames).astype(np.int32),
        }
    )
    pairs = _verified(table, _candidates(table))
    fewer = np.minimum(sizes[pairs["first"].to_numpy()], sizes[pairs["second"].to_numpy()])
    share = pairs["shared"].to_numpy() / np.maximum(fewer, 1)
    return (
        pairs.with_columns(pl.Series("share", share)).filter(pl.col("share") >= MIN_SHARE).sort("first", "second")
    )


def _candidates(table: pl.DataFrame) -> pl.DataFrame:
    """Pairs of recordings that share a few triples of peaks (two codes of one first peak): rare among millions."""
    after = pl.col("item", "frame", "code").shift(-1).name.suffix("_next")
    triples = table.sort("item", "frame", "code").with_columns(after)
    same = (pl.col("item") == pl.col("item_next")) & (pl.col("frame") == pl.col("frame_next"))
    triple = pl.col("code").cast(pl.UInt64) * 2**32 + pl.col("code_next").cast(pl.UInt64)
    triples = triples.filter(same).select("item", triple.alias("triple")).unique()
    triples = triples.with_columns(pl.len().over("triple").alias("holders"))
    triples = triples.filter((pl.col("holders") > 1) & (pl.col("holders") <= COMMON)).drop("holders")
    return (
        triples.join(triples, on="triple", suffix="_other")
        .filter(pl.col("item") < pl.col("item_other"))
        .group_by(pl.col("item").alias("first"), pl.col("item_other").alias("second"))
        .len("triples")
        .filter(pl.col("triples") >= MIN_TRIPLES)
        .drop("triples")
    )


def _verified(table: pl.DataFrame, candidates: pl.DataFrame) -> pl.DataFrame:
    """How many codes each candidate pair shares at its best offset in time."""
    return (
        candidates.join(table, left_on="first", right_on="item")
        .join(table, left_on=["second", "code"], right_on=["item", "code"], suffix="_other")
        .with_columns(((pl.col("frame_other") - pl.col("frame")) // FRAME_STEP).alias("offset"))
        .group_by("first", "second", "offset")
        .agg(pl.col("code").n_unique().alias("shared"))
        .group_by("first", "second")
        .agg(pl.col("shared").max())
        .filter(pl.col("shared") >= MIN_SHARED)
        .with_columns(pl.col("shared").cast(pl.UInt32))
    )
