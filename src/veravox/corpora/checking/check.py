"""Look a protocol over, or several against each other."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from veravox.corpora.checking.findings import KINDS, Finding, Report
from veravox.corpora.checking.fingerprint_store import FingerprintStore
from veravox.corpora.checking.leaks import separated_pairs, shared_values
from veravox.corpora.checking.scan import scan
from veravox.corpora.checking.sound import SHORT_S, damaged, duplicates, near, one_sided
from veravox.errors import ProtocolError, first_few
from veravox.tables import BONA_FIDE, SPOOF, Protocol

UNBALANCED = 20.0
USEFUL = ("speaker_id", "text_id", "attack_id")


def read_all(paths: Sequence[str | os.PathLike[str]]) -> tuple[list[Protocol], list[Finding]]:
    """The protocols that can be read, and a finding for each that cannot.

    Raises:
        ProtocolError: if a file is not there at all.
    """
    protocols, findings = [], []
    for path in paths:
        if not Path(path).is_file():
            raise ProtocolError(f"{str(path)!r} does not exist or is not a file")
        try:
            protocols.append(Protocol.read(path))
        except ProtocolError as error:
            findings.append(Finding("schema", str(error), [str(path)]))
    return protocols, findings


def check(
    protocols: Sequence[Protocol],
    audio: bool = True,
    near_duplicates: bool = True,
    cache: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    short_s: float = SHORT_S,
    progress: Callable[[int], None] = lambda files: None,
) -> Report:
    """Check protocols for leaks and for trials that will not do.

    The trials of one protocol and one `split` are a set; so are those of a protocol without splits. Every two
    sets are held against each other.

    Args:
        audio: whether recordings are opened.
        near_duplicates: whether sounds are compared by their fingerprints, too.
        cache: of the scan (see `scan`).
        workers: of the scan.
        short_s: shorter recordings are remarked on.
        progress: is told how many files of the scan are done.
    """
    names = _names(protocols)
    tables = [_trials(protocol, name) for protocol, name in zip(protocols, names, strict=True)]
    trials = pl.concat(tables, how="diagonal_relaxed")
    findings = [*balance(trials), *unknown(trials), *shared_values(trials), *separated_pairs(trials)]
    if audio:
        with _fingerprints(cache) as fingerprints:
            scans = []
            for protocol, name in zip(protocols, names, strict=True):
                if "path" in protocol.frame.columns:
                    scanned = scan(_with_path(protocol), cache, workers, progress, fingerprints)
                    scans.append(scanned.with_columns((pl.lit(name) + pl.col("utterance_id")).alias("trial")))
            trials = _with_scan(trials, scans)
            findings += [*damaged(trials, short_s), *duplicates(trials)]
            if near_duplicates:
                findings += near(trials, fingerprints)
    findings += one_sided(trials)
    order = list(KINDS)
    return Report(_sets(trials), sorted(findings, key=lambda finding: order.index(finding.kind)), audio)


def _names(protocols: Sequence[Protocol]) -> list[str]:
    """What begins the names of each protocol's trials: nothing if it is alone, its file's name, or its path."""
    if len(protocols) == 1:
        return [""]
    stems = [Path(protocol.name).stem for protocol in protocols]
    paths = [protocol.name for protocol in protocols]
    if len(set(stems)) == len(stems):
        return [f"{stem}:" for stem in stems]
    if len(set(paths)) == len(paths):
        return [f"{path}:" for path in paths]
    return [f"{path} ({number}):" for number, path in enumerate(paths, 1)]


def _trials(protocol: Protocol, name: str) -> pl.DataFrame:
    """A protocol's rows with the set that each belongs to and a name for messages."""
    frame = protocol.frame
    if "split" in frame.columns:
        group = pl.lit(name) + pl.col("split").fill_null("no split")
    else:
        group = pl.lit(name.rstrip(":") or "all")
    frame = frame.with_columns(group.alias("set"), (pl.lit(name) + pl.col("utterance_id")).alias("trial"))
    if "label" not in frame.columns:
        frame = frame.with_columns(pl.lit(None, dtype=pl.String).alias("label"))
    return frame.rename({"codec": "protocol codec"}) if "codec" in frame.columns else frame


def _with_path(protocol: Protocol) -> Protocol:
    return protocol.with_frame(protocol.frame.filter(pl.col("path").is_not_null()))


@contextmanager
def _fingerprints(cache: str | os.PathLike[str] | None) -> Iterator[FingerprintStore]:
    """A store of fingerprints for one check, beside the cache or else where temporary files go."""
    folder = None if cache is None else Path(cache).resolve().parent
    with tempfile.TemporaryDirectory(prefix=".fingerprints-", dir=folder) as name, FingerprintStore(name) as store:
        yield store


def _with_scan(trials: pl.DataFrame, scans: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The trials with what the scans found of each."""
    if not scans:
        raise ProtocolError("no protocol has the column 'path', so no audio can be opened; leave audio out")
    columns = pl.concat(scans).drop("utterance_id", "version")
    own = [name for name in columns.columns if name != "trial" and name in trials.columns]
    return trials.drop(own).join(columns, on="trial", how="left", maintain_order="left")


def _sets(trials: pl.DataFrame) -> list[dict[str, Any]]:
    figures = [
        pl.len().alias("trials"),
        (pl.col("label") == BONA_FIDE).sum().alias("bonafide"),
        (pl.col("label") == SPOOF).sum().alias("spoof"),
        pl.col("label").is_null().sum().alias("unlabelled"),
    ]
    for name, column in (("speakers", "speaker_id"), ("generators", "attack_id")):
        if column in trials.columns:
            figures.append(pl.col(column).replace("-", None).drop_nulls().n_unique().alias(name))
    if "duration_s" in trials.columns:
        figures.append(pl.col("duration_s").cast(pl.Float64, strict=False).sum().round(3).alias("duration_s"))
    return trials.group_by("set").agg(figures).sort("set").to_dicts()


def balance(trials: pl.DataFrame) -> Iterator[Finding]:
    """Sets with one label only, or far more of one than of the other."""
    for row in _sets(trials):
        here, there = row["bonafide"], row["spoof"]
        if not here and not there:
            continue
        if not here or not there:
            only = SPOOF if there else BONA_FIDE
            yield Finding("balance", f"{row['set']}: every trial with a label is {only}", [row["set"]])
        elif max(here, there) / min(here, there) > UNBALANCED:
            message = f"{row['set']}: {here} bonafide against {there} spoof, more than {UNBALANCED:g} to 1"
            yield Finding("balance", message, [row["set"]])


def unknown(trials: pl.DataFrame) -> Iterator[Finding]:
    """Columns without which a leak would go unseen, and trials without a label."""
    blank = trials.filter(pl.col("label").is_null())["trial"].to_list()
    if blank:
        yield Finding("unknown", f"{len(blank)} trials have no label: {first_few(blank)}", blank)
    if trials["set"].n_unique() < 2:
        return
    for column in USEFUL:
        rows = trials.filter(pl.col("label") == SPOOF) if column == "attack_id" else trials
        there = rows[column].drop_nulls() if column in rows.columns else rows["trial"].clear()
        if len(there) < len(rows):
            share = 1 - len(there) / len(rows)
            message = f"{share:.0%} of the trials have no {column}; leaks among them cannot be seen"
            yield Finding("unknown", message, [column])
