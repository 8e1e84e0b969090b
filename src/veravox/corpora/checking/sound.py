"""What the recordings themselves give away: doubled, damaged, and one-sided properties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from veravox.corpora.checking.findings import Finding
from veravox.corpora.checking.fingerprint_store import FingerprintStore
from veravox.corpora.checking.near_duplicates import near_duplicates
from veravox.errors import first_few
from veravox.tables import BONA_FIDE, SPOOF

SILENT_PEAK = 2.0**-15  # one step of 16-bit PCM
SHORT_S = 0.5
ONE_SIDED = 0.95
FEW_TRIALS = 20
LISTED_PAIRS = 100_000
NO_PAIR = np.uint64(0)

PROPERTIES = ("container", "codec", "sample_rate_hz", "channels", "protocol codec", "degradation", "language")
"""Properties of a recording that should not tell its label."""


def damaged(trials: pl.DataFrame, short_s: float) -> Iterator[Finding]:
    """Recordings that cannot be read, hold no sound, or are very short."""
    broken = trials.filter(pl.col("error").is_not_null())
    if len(broken):
        message = f"{len(broken)} recordings cannot be read, first: {broken['error'][0]}"
        yield Finding("unreadable", message, broken["error"].to_list())
    silent = trials.filter(pl.col("peak") < SILENT_PEAK)["trial"].to_list()
    if silent:
        yield Finding("silent", f"{len(silent)} recordings hold no sound: {first_few(silent)}", silent)
    short = trials.filter(pl.col("duration_s") < short_s)["trial"].to_list()
    if short:
        yield Finding("short", f"{len(short)} recordings are under {short_s:g} s: {first_few(short)}", short)


def duplicates(trials: pl.DataFrame) -> Iterator[Finding]:
    """Recordings with equal decoded sound: of both labels, in two sets, twice in one set."""
    sounding = trials.filter(pl.col("content_hash").is_not_null() & (pl.col("peak") >= SILENT_PEAK))
    groups = (
        sounding.filter(pl.col("content_hash").is_duplicated())
        .group_by("content_hash", maintain_order=True)
        .agg(
            "trial",
            pl.col("set").n_unique().alias("sets"),
            pl.col("label").drop_nulls().n_unique().alias("labels"),
        )
    )
    conflicts = _groups(groups.filter(pl.col("labels") > 1))
    if conflicts:
        message = f"{len(conflicts)} sounds are both bona fide and spoof: {first_few(conflicts)}"
        yield Finding("label-conflict", message, conflicts)
    across = _groups(groups.filter(pl.col("sets") > 1))
    if across:
        yield Finding("audio", f"{len(across)} sounds lie in more than one set: {first_few(across)}", across)
    within = _groups(groups.filter((pl.col("sets") == 1) & (pl.col("labels") <= 1)))
    if within:
        yield Finding("duplicate", f"{len(within)} sounds occur twice in their set: {first_few(within)}", within)


def _groups(groups: pl.DataFrame) -> list[str]:
    return [" = ".join(trials) for trials in groups["trial"]]


def near(trials: pl.DataFrame, fingerprints: FingerprintStore) -> Iterator[Finding]:
    """Recordings with nearly equal sound: across sets, and within one.

    Args:
        trials: with `fingerprint`, the number of each recording's in the store, and `set`.
        fingerprints: of the recordings.
    """
    names = _fingerprinted(trials, fingerprints)
    by_number = _by_number(names, len(fingerprints))
    pairs = near_duplicates(fingerprints, by_number["set"])
    first, second = pairs["first"].to_numpy(), pairs["second"].to_numpy()

    def ends(column: str) -> tuple[np.ndarray, np.ndarray]:
        return by_number[column][first], by_number[column][second]

    (one, two), (of_one, of_two), labels, sets = ends("id"), ends("pair_of"), ends("label"), ends("set")
    declared = (of_one == two) | (of_two == one) | ((of_one == of_two) & (of_one != NO_PAIR))
    pairs = pairs.with_columns(
        pl.Series("across", sets[0] != sets[1]),
        pl.Series("declared", declared),
        pl.Series("both", (labels[0] != labels[1]) & (labels[0] >= 0) & (labels[1] >= 0)),
    )
    for kind, where in (("near-duplicate", "in different sets"), ("near-copy", "within a set")):
        alike = pairs.filter(pl.col("across") == (kind == "near-duplicate"))
        if len(alike):
            declared_count, mixed_count = int(alike["declared"].sum()), int(alike["both"].sum())
            items = _listed_pairs(alike, names)
            notes = f", {declared_count} declared by pair_of" if declared_count else ""
            notes += f", {mixed_count} a bona fide with a spoof" if mixed_count else ""
            notes += f", the first {len(items)} listed" if len(items) < len(alike) else ""
            message = f"{len(alike)} pairs {where} sound nearly alike{notes}: {first_few(items)}"
            yield Finding(kind, message, items)


def _fingerprinted(trials: pl.DataFrame, fingerprints: FingerprintStore) -> pl.DataFrame:
    """The first trial of every sound that has a fingerprint."""
    if "pair_of" not in trials.columns:
        trials = trials.with_columns(pl.lit(None, dtype=pl.String).alias("pair_of"))
    sizes = pl.Series(fingerprints.sizes, dtype=pl.Int64)
    numbers = trials["fingerprint"].drop_nulls().unique()
    full = numbers.filter(sizes.gather(numbers) > 0)
    sounding = trials.filter(pl.col("fingerprint").is_in(full.implode()))
    sounding = sounding.unique("content_hash", keep="first", maintain_order=True)
    return sounding.select("trial", "set", "utterance_id", "pair_of", "label", "fingerprint")


def _by_number(names: pl.DataFrame, count: int) -> dict[str, np.ndarray]:
    """Of each fingerprint: `set` (-1 where another fingerprint stands for the sound), `label` (-1 for none), and
    hashes of `id` and `pair_of`; numbers, so that very many pairs fit in memory."""
    numbers = names["fingerprint"].to_numpy()
    blank = names["pair_of"].is_null() | (names["pair_of"] == "")
    columns: dict[str, tuple[np.ndarray, type, Any]] = {
        "set": (names["set"].rank("dense").to_numpy() - 1, np.int32, -1),
        "label": (names["label"].replace_strict({BONA_FIDE: 0, SPOOF: 1}, default=-1).to_numpy(), np.int8, -1),
        "id": (names["utterance_id"].hash().to_numpy(), np.uint64, NO_PAIR),
        "pair_of": (np.where(blank.fill_null(True), NO_PAIR, names["pair_of"].hash()), np.uint64, NO_PAIR),
    }
    by_number: dict[str, np.ndarray] = {}
    for name, (values, kind, absent) in columns.items():
        by_number[name] = np.full(count, absent, kind)
        by_number[name][numbers] = values
    return by_number


def _listed_pairs(pairs: pl.DataFrame, names: pl.DataFrame) -> list[str]:
    """The most telling pairs: those that nobody declared, those most alike first."""
    listed = pairs.sort("declared", "share", "first", "second", descending=[False, True, False, False])
    trial = names.select("fingerprint", "trial")
    listed = (
        listed.head(LISTED_PAIRS)
        .join(trial, left_on="first", right_on="fingerprint", maintain_order="left")
        .join(trial, left_on="second", right_on="fingerprint", suffix="_other", maintain_order="left")
    )
    percent = (pl.col("share") * 100).round().cast(pl.Int64)
    shown = pl.concat_str("trial", pl.lit(" ~ "), "trial_other", pl.lit(" ("), percent, pl.lit("%)"))
    return listed.select(shown).to_series().to_list()


def one_sided(trials: pl.DataFrame) -> Iterator[Finding]:
    """Properties that nearly all of one label have and nearly none of the other."""
    labelled = trials.filter(pl.col("label").is_not_null())
    sizes = {label: int((labelled["label"] == label).sum()) for label in (BONA_FIDE, SPOOF)}
    if min(sizes.values()) < FEW_TRIALS:
        return
    for name in PROPERTIES:
        if name not in labelled.columns:
            continue
        rows = labelled.filter(pl.col(name).is_not_null())
        counts = rows.group_by(name, "label").len().pivot("label", index=name, values="len").fill_null(0)
        for label, other in ((SPOOF, BONA_FIDE), (BONA_FIDE, SPOOF)):
            if label not in counts.columns or other not in counts.columns:
                continue
            shares = counts.select(
                pl.col(name).cast(pl.String).alias("value"),
                (pl.col(label) / sizes[label]).alias("here"),
                (pl.col(other) / sizes[other]).alias("there"),
            ).filter((pl.col("here") >= ONE_SIDED) & (pl.col("there") <= 1 - ONE_SIDED))
            for value, here, there in shares.iter_rows():
                message = f"{name.replace('_', ' ')} {value}: {here:.0%} of {label}, {there:.0%} of {other}"
                yield Finding("one-sided", message, [value])
