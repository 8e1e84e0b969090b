"""Pairs of recordings that sound nearly alike, found through an index on disk instead of by comparing all pairs.

Every fingerprint is cut into keys, each three codes of one first peak. Keys are spilled to disk by their value, so
that equal keys meet in one part; recordings that share keys become candidates, spilled again by recording; the
candidates of a part are compared code by code. Memory holds one part at a time; time grows as the number of keys.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from veravox.corpora.checking.fingerprint import FRAME_STEP
from veravox.corpora.checking.fingerprint_store import FingerprintStore

MIN_KEYS = 2
"""Keys that two recordings share before they are compared."""
SMALL_FAMILY = 8
"""Holders of a key up to which each is paired with each; of more, each is paired with the first of every set."""
MAX_PARTNERS = 16
"""Candidates that one recording is compared with in its own set, and as many in other sets."""
MIN_SHARED = 10
MIN_SHARE = 0.25

CODES_AT_ONCE = 2**20
KEYS_AT_ONCE = 2**22
MAX_PARTS = 256

PAIRS = {"first": pl.UInt32, "second": pl.UInt32, "shared": pl.UInt32, "share": pl.Float64}
KEY = np.dtype([("key", "<u8"), ("item", "<u4")])
Items = NDArray[np.uint32]
Pairs = NDArray[np.uint64]


def near_duplicates(store: FingerprintStore, sets: np.ndarray | None = None) -> pl.DataFrame:
    """Pairs of recordings that share their peaks at one offset in time.

    Of a family of many like recordings not every pair is given: each member is paired with the first of its set
    and of every other set, and with at most `MAX_PARTNERS` others.

    Args:
        store: fingerprints of the recordings.
        sets: number of the set of each recording, -1 for one that is left out; one set if None.
    Returns:
        `first`, `second` (numbers in the store, first < second), `shared` (codes at the best offset), `share` (of
        the codes of the one that has fewer), sorted.
    """
    members = np.zeros(len(store), np.int32) if sets is None else np.asarray(sets, np.int32)
    sizes = store.sizes
    parts = min(MAX_PARTS, 1 + int(sizes.sum()) // KEYS_AT_ONCE)
    with tempfile.TemporaryDirectory(prefix="near-", dir=store.folder) as folder:
        keys, pairs = (
            _Spill(Path(folder) / "keys", KEY, parts),
            _Spill(Path(folder) / "pairs", np.dtype("<u8"), parts),
        )
        for first, last in store.runs(CODES_AT_ONCE):
            records = _keys(store, first, last)
            records = records[members[records["item"]] >= 0]
            keys.write(records, records["key"] % np.uint64(parts))
        for records in keys.read():
            for linked in _linked(records, members):
                pairs.write(linked, (linked >> np.uint64(32)) % np.uint64(parts))
        alike = [_compared(store, sizes, *_candidates(linked, members)) for linked in pairs.read()]
    frame = pl.concat([pl.DataFrame(schema=PAIRS), *alike])
    return frame.unique(["first", "second"], keep="any").sort("first", "second")


class _Spill:
    """Records of one kind in several files, each read back as a whole."""

    def __init__(self, folder: Path, kind: np.dtype, parts: int) -> None:
        folder.mkdir()
        self.kind = kind
        self.files = [(folder / str(part)).open("w+b") for part in range(parts)]

    def write(self, records: np.ndarray, parts: np.ndarray) -> None:
        """Append records, in their order, each to its part."""
        order = np.argsort(parts.astype(np.uint8), kind="stable")
        counts = np.bincount(parts.astype(np.intp), minlength=len(self.files))
        for file, piece in zip(self.files, np.split(records[order], np.cumsum(counts)[:-1]), strict=True):
            file.write(piece.tobytes())

    def read(self) -> Iterator[np.ndarray]:
        """The records of each part that has some; a part that was read is gone."""
        for file in self.files:
            file.seek(0)
            records = np.frombuffer(file.read(), self.kind)
            file.truncate(0)
            file.close()
            if len(records):
                yield records


def _keys(store: FingerprintStore, first: int, last: int) -> np.ndarray:
    """Keys of a run of fingerprints with the number of their recording, which rises."""
    codes, frames = store.read(first, last)
    items = np.repeat(np.arange(first, last, dtype=np.uint32), store.sizes[first:last])
    order = np.lexsort((codes, frames, items))
    codes, frames, items = codes[order].astype(np.uint64), frames[order], items[order]
    same = (items[2:] == items[:-2]) & (frames[2:] == frames[:-2])
    mixed = codes[:-2] * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(29)) ^ codes[1:-1]) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(32)) ^ codes[2:]) * np.uint64(0x94D049BB133111EB)
    records = np.empty(int(same.sum()), KEY)
    records["key"], records["item"] = (mixed ^ (mixed >> np.uint64(31)))[same], items[:-2][same]
    return records


def _linked(records: np.ndarray, sets: np.ndarray) -> Iterator[Pairs]:
    """Recordings that hold one key, as numbers `owner << 32 | partner`, family by family."""
    order = np.argsort(records["key"], kind="stable")  # holders of a key stay in the order of their numbers
    keys, items = records["key"][order], records["item"][order]
    new = np.append(True, (keys[1:] != keys[:-1]) | (items[1:] != items[:-1]))
    keys, items = keys[new], items[new]
    starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
    holders = np.diff(np.append(starts, len(keys)))
    for count in range(2, SMALL_FAMILY + 1):
        family = items[starts[holders == count][:, None] + np.arange(count)]
        for lower in range(count):
            for upper in range(lower + 1, count):
                yield _pair(family[:, upper], family[:, lower])
    large = np.flatnonzero(holders > SMALL_FAMILY)
    yield from _led(items, starts[large], holders[large], sets)


def _led(items: Items, starts: np.ndarray, holders: np.ndarray, sets: np.ndarray) -> Iterator[Pairs]:
    """Of large families: each holder with the first of every set that the family has."""
    if not len(starts):
        return
    family = np.repeat(np.arange(len(starts)), holders)
    member = items[np.arange(len(family)) - np.repeat(np.cumsum(holders) - holders, holders) + starts[family]]
    group = sets[member]
    for number in np.unique(group):
        own = np.flatnonzero(group == number)
        leading = own[np.append(True, family[own][1:] != family[own][:-1])]
        leader = np.full(len(starts), -1, np.int64)
        leader[family[leading]] = member[leading]
        partner = leader[family]
        linked = (partner >= 0) & (partner != member)
        yield _pair(member[linked], partner[linked])


def _pair(owner: np.ndarray, partner: np.ndarray) -> Pairs:
    return (owner.astype(np.uint64) << np.uint64(32)) | partner.astype(np.uint64)


def _candidates(linked: Pairs, sets: np.ndarray) -> tuple[Items, Items]:
    """Owners and partners that share enough keys, of each owner those that share most."""
    pairs, counts = np.unique(linked, return_counts=True)
    pairs, counts = pairs[counts >= MIN_KEYS], counts[counts >= MIN_KEYS]
    owner, partner = (pairs >> np.uint64(32)).astype(np.uint32), (pairs & np.uint64(2**32 - 1)).astype(np.uint32)
    across = sets[owner] != sets[partner]
    order = np.lexsort((-counts, across, owner))
    owner, partner, across = owner[order], partner[order], across[order]
    if not len(owner):
        return owner, partner
    new = np.append(True, (owner[1:] != owner[:-1]) | (across[1:] != across[:-1]))
    starts = np.flatnonzero(new)
    rank = np.arange(len(owner)) - np.repeat(starts, np.diff(np.append(starts, len(owner))))
    return owner[rank < MAX_PARTNERS], partner[rank < MAX_PARTNERS]


def _compared(store: FingerprintStore, sizes: np.ndarray, owner: Items, partner: Items) -> pl.DataFrame:
    """The candidates that share enough codes at one offset."""
    ends = np.cumsum(sizes[owner] + sizes[partner])
    alike, first = [pl.DataFrame(schema=PAIRS)], 0
    while first < len(owner):
        reached = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, reached + CODES_AT_ONCE)))
        pair = np.stack([owner[first:last], partner[first:last]])
        alike.append(_verified(store, sizes, pair.min(axis=0), pair.max(axis=0)))
        first = last
    return pl.concat(alike)


def _verified(store: FingerprintStore, sizes: np.ndarray, first: Items, second: Items) -> pl.DataFrame:
    def side(numbers: Items) -> pl.DataFrame:
        codes, frames = store.gather(numbers)
        place = np.repeat(np.arange(len(numbers), dtype=np.uint64), sizes[numbers])
        return pl.DataFrame({"key": (place << np.uint64(32)) | codes, "frame": frames.astype(np.int32)})

    shared = (
        side(first)
        .join(side(second), on="key", suffix="_other")
        .select(
            (pl.col("key") // 2**32).alias("place"),
            pl.col("key"),
            ((pl.col("frame_other") - pl.col("frame")) // FRAME_STEP).alias("offset"),
        )
        .group_by("place", "offset")
        .agg(pl.col("key").n_unique().alias("shared"))
        .group_by("place")
        .agg(pl.col("shared").max().cast(pl.UInt32))
        .filter(pl.col("shared") >= MIN_SHARED)
    )
    place = shared["place"].to_numpy().astype(np.intp)
    fewer = np.maximum(np.minimum(sizes[first[place]], sizes[second[place]]), 1)
    share = shared["shared"].to_numpy() / fewer
    columns = {"first": first[place], "second": second[place], "shared": shared["shared"], "share": share}
    frame = pl.DataFrame(columns, schema=PAIRS)
    return frame.filter(pl.col("share") >= MIN_SHARE)
