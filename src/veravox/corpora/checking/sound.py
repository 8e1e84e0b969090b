"""What the recordings themselves give away: doubled, damaged, and one-sided properties."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

from veravox.corpora.checking.findings import Finding
from veravox.corpora.checking.fingerprint import near_duplicates
from veravox.errors import first_few
from veravox.tables import BONA_FIDE, SPOOF

SILENT_PEAK = 2.0**-15  # one step of 16-bit PCM
SHORT_S = 0.5
ONE_SIDED = 0.95
FEW_TRIALS = 20

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


def near(trials: pl.DataFrame) -> Iterator[Finding]:
    """Recordings with nearly equal sound: across sets, and within one."""
    heard = trials.filter(pl.col("codes").list.len() > 0).unique("content_hash", keep="first", maintain_order=True)
    codes = [np.asarray(item, np.uint32) for item in heard["codes"]]
    frames = [np.asarray(item, np.uint16) for item in heard["frames"]]
    pairs = near_duplicates(codes, frames)
    if "pair_of" not in heard.columns:
        heard = heard.with_columns(pl.lit(None, dtype=pl.String).alias("pair_of"))
    names = heard.select("trial", "set", "utterance_id", "pair_of", "label").with_row_index("place")
    pairs = pairs.join(names, left_on="first", right_on="place").join(
        names, left_on="second", right_on="place", suffix="_other"
    )
    same = pl.col("pair_of").eq_missing(pl.col("pair_of_other")) & pl.col("pair_of").ne_missing("")
    declared = (
        (pl.col("pair_of") == pl.col("utterance_id_other"))
        | (pl.col("pair_of_other") == pl.col("utterance_id"))
        | (same & pl.col("pair_of").is_not_null())
    ).fill_null(False)
    pairs = pairs.with_columns(
        declared.alias("declared"),
        (pl.col("label") != pl.col("label_other")).fill_null(False).alias("both"),
    ).sort("declared", "share", "trial", descending=[False, True, False])
    shown = pairs.select(
        pl.concat_str(
            "trial",
            pl.lit(" ~ "),
            "trial_other",
            pl.lit(" ("),
            (pl.col("share") * 100).round().cast(pl.Int64),
            pl.lit("%)"),
        ).alias("pair"),
        (pl.col("set") != pl.col("set_other")).alias("across"),
        "declared",
        "both",
    )
    for kind, where in (("near-duplicate", "in different sets"), ("near-copy", "within a set")):
        found = shown.filter(pl.col("across") == (kind == "near-duplicate"))
        if len(found):
            items = found["pair"].to_list()
            known = f", {found['declared'].sum()} declared by pair_of" if found["declared"].any() else ""
            mixed = f", {found['both'].sum()} a bona fide with a spoof" if found["both"].any() else ""
            message = f"{len(items)} pairs {where} sound nearly alike{known}{mixed}: {first_few(items)}"
            yield Finding(kind, message, items)


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
