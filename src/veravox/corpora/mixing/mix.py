"""Make the sets of a mix, and its folds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from veravox.corpora.mixing.draw import balanced, divided
from veravox.corpora.mixing.spec import ROLES, Mix, Source, missing_roots, need_roots
from veravox.corpora.reading.assemble import hash_order
from veravox.corpora.reading.corpus import read_corpus
from veravox.corpora.reading.rows import blank_to_null
from veravox.errors import ConfigurationError, CorpusError, first_few, suggest
from veravox.files import write_json
from veravox.tables import BONA_FIDE, SPOOF, Protocol


@dataclass(frozen=True)
class Mixed:
    """A mix that was made.

    Args:
        sets: name to protocol; a fold's sets are named `FOLD/SET`.
        notes: what its maker should know.
        left_out: sources that were not given.
    """

    mix: Mix
    sets: dict[str, Protocol]
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def figures(self) -> list[dict[str, Any]]:
        """Per set: trials by label and by source."""
        rows = []
        for name, protocol in self.sets.items():
            labels = protocol.frame["label"]
            sources = protocol.frame.group_by("domain").len().sort("domain")
            rows.append(
                {
                    "set": name,
                    "trials": len(protocol),
                    "bonafide": int((labels == BONA_FIDE).sum()),
                    "spoof": int((labels == SPOOF).sum()),
                    "sources": dict(sources.iter_rows()),
                }
            )
        return rows

    def write(self, folder: str | os.PathLike[str], ending: str = ".parquet") -> list[Path]:
        """Write one protocol per set, and `mix.json` with the figures, the seed and what was left out."""
        paths = []
        for name, protocol in self.sets.items():
            path = Path(folder) / f"{name}{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            protocol.write(path)
            paths.append(path)
        content = {
            "schema": 1,
            "mix": self.mix.name,
            "about": self.mix.about,
            "seed": self.mix.seed,
            "sets": self.figures(),
            "left_out": self.left_out,
            "notes": self.notes,
        }
        write_json(Path(folder) / "mix.json", content)
        return paths


def make_mix(mix: Mix, roots: Mapping[str, str] | None = None, partial: bool = False, folder: str = ".") -> Mixed:
    """Read the sources of a mix and draw its sets.

    Args:
        roots: folder of each source (and companion) that the mix itself does not name; for a source that is a
            protocol, its file.
        partial: whether sources without a folder are left out.
        folder: what relative paths in the mix start from.
    Raises:
        ConfigurationError: for a missing folder, an unknown column, or a set that would be empty.
        CorpusError: if a source cannot be read, or a trial would be trained and tested on.
    """
    roots = dict(roots or {})
    missing = missing_roots(mix, roots)
    if not partial:
        need_roots(mix, missing)
    notes: list[str] = [f"{name} is left out: its folder is not given" for name in missing]
    frames = {}
    for name, source in mix.sources.items():
        if name not in missing:
            frames[name] = _trials(mix, name, source, roots, folder, notes)
    if frames and mix.hold_out:
        notes += _without_trials(pl.concat(frames.values(), how="diagonal_relaxed"), mix.hold_out, "hold_out")
    pools = {name: _pool(mix, name, frames, notes) for name in mix.sets}
    if mix.folds is None:
        sets = {name: _draw(mix, name, pool) for name, pool in pools.items()}
    else:
        everything = pl.concat(frames.values(), how="diagonal_relaxed")
        sets = dict(_folds(mix, pools, everything, notes))
    present = {name: frame for name, frame in sets.items() if len(frame)}
    empty = [name for name in sets if name not in present]
    if empty and not (partial and missing):
        raise ConfigurationError(f"mix {mix.name!r}: no trial is left for {first_few(empty)}")
    notes += [f"{name} is left out: none of its sources is given" for name in empty]
    _refuse_overlap(mix, present)
    protocols = {name: Protocol(frame, f"{mix.name} {name}") for name, frame in present.items()}
    return Mixed(mix, protocols, notes, missing)


def _trials(
    mix: Mix, name: str, source: Source, roots: Mapping[str, str], folder: str, notes: list[str]
) -> pl.DataFrame:
    """A source's trials: ids that begin with its name, paths that are absolute, its name as domain."""
    if source.protocol is not None:
        path = roots.get(name) or os.path.join(folder, source.protocol)
        protocol = Protocol.read(path)
        if source.split is not None:
            protocol = protocol.where(split=source.split)
    else:
        root = roots.get(name) or os.path.join(folder, str(source.root))
        options = {key: _given(value, roots) for key, value in source.options.items()}
        options = {key: value for key, value in options.items() if value is not None}
        reading = read_corpus(str(source.corpus), root, source.split, options)
        notes += [note for note in reading.notes if "are not trials" not in note]
        protocol = reading.protocol
    frame = protocol.frame
    base = str((protocol.root or Path()).resolve())
    if "path" in frame.columns:
        absolute = (
            pl.when(pl.col("path").str.starts_with("/"))
            .then("path")
            .otherwise(pl.lit(base + "/") + pl.col("path"))
        )
        frame = frame.with_columns(absolute.alias("path"))
    original = "original_domain" if "domain" in frame.columns and frame["domain"].n_unique() > 1 else None
    if original:
        frame = frame.with_columns(pl.col("domain").alias(original))
    named = ("attack_id", "speaker_id", "language", "source_id")  # `-` is nobody's name
    frame = blank_to_null(frame, *(column for column in named if column in frame.columns))
    frame = frame.with_columns(
        pl.col("utterance_id").alias("original_id"),
        (pl.lit(f"{name}/") + pl.col("utterance_id")).alias("utterance_id"),
        pl.lit(name).alias("domain"),
    )
    notes += _without_trials(frame, source.only, f"source {name!r}, only")
    frame = _filtered(frame, source.only, True, f"source {name!r}")
    if source.divide is not None:
        shares = {role: getattr(source.divide, role) for role in ROLES}
        if source.divide.by is not None:
            _need_column(frame, source.divide.by, f"source {name!r}, divide")
        frame = divided(frame, shares, source.divide.by, mix.seed)
    return frame


def _given(value: Any, roots: Mapping[str, str]) -> Any:
    return roots.get(value[1:]) if isinstance(value, str) and value.startswith("$") else value


def _need_column(frame: pl.DataFrame, column: str, owner: str) -> None:
    if column not in frame.columns:
        raise ConfigurationError(f"{owner}: no trial has the column {column!r}; {suggest(column, frame.columns)}")


def _filtered(frame: pl.DataFrame, values: Mapping[str, list[str]], keep: bool, owner: str) -> pl.DataFrame:
    for column, wanted in values.items():
        _need_column(frame, column, owner)
        inside = pl.col(column).cast(pl.String).is_in(wanted).fill_null(False)
        frame = frame.filter(inside if keep else ~inside)
    return frame


def _without_trials(frame: pl.DataFrame, values: Mapping[str, list[str]], owner: str) -> list[str]:
    """A note for every value that no trial has: a misspelling, as a rule, which would hold nothing out."""
    notes = []
    for column, wanted in values.items():
        there = set(frame[column].cast(pl.String).drop_nulls().unique()) if column in frame.columns else set()
        for value in sorted(set(wanted) - there if there else ()):
            nearest = suggest(value, there)
            nearest = (
                nearest if len(there) < 9 or nearest.startswith("did") else f"known: {first_few(sorted(there))}"
            )
            notes.append(f"{owner}: no trial has {column} {value!r}; {nearest}")
    return notes


def _pool(mix: Mix, name: str, frames: Mapping[str, pl.DataFrame], notes: list[str]) -> pl.DataFrame:
    """All trials that a set may take: of its sources, splits and values, without what is held out."""
    part, role = mix.sets[name], mix.role(name)
    splits = part.splits or [role]
    chosen = [frames[source] for source in part.sources or list(mix.sources) if source in frames]
    if not chosen:
        return pl.DataFrame(schema={"utterance_id": pl.String})
    pool = pl.concat(chosen, how="diagonal_relaxed")
    notes += _without_trials(pool, part.only, f"set {name!r}, only")
    notes += _without_trials(pool, part.without, f"set {name!r}, without")
    split = pl.col("split") if "split" in pool.columns else pl.lit(None, dtype=pl.String)
    # Trials without a published split can only be tested on, unless the mix divides them.
    pool = pool.filter(split.fill_null("eval").is_in(splits))
    pool = _filtered(pool, part.only, True, f"set {name!r}, only")
    pool = _filtered(pool, part.without, False, f"set {name!r}, without")
    if role != "eval":
        pool = _filtered(pool, mix.hold_out, False, "hold_out")
    return pool.with_columns(pl.lit(role).alias("split"))


def _draw(mix: Mix, name: str, pool: pl.DataFrame) -> pl.DataFrame:
    """The trials of a set, drawn as it says, sorted by id."""
    part = mix.sets[name]
    if not len(pool):
        return pool
    for column in part.balance:
        _need_column(pool, column, f"set {name!r}, balance")
    limits = part.trials_per_source
    if limits is not None:
        pieces = []
        for (source,), group in sorted(pool.partition_by("domain", as_dict=True).items()):
            limit = limits.get(str(source)) if isinstance(limits, dict) else limits
            keep = len(group) if limit is None else min(limit, len(group))
            pieces.append(balanced(group, part.balance if limit is not None else [], keep, mix.seed))
        pool = pl.concat(pieces, how="diagonal_relaxed")
    return balanced(pool, part.balance, part.trials, mix.seed)


def _folds(
    mix: Mix, pools: Mapping[str, pl.DataFrame], everything: pl.DataFrame, notes: list[str]
) -> Iterator[tuple[str, pl.DataFrame]]:
    """Each fold's sets: train and dev without the fold's values, `eval` of them alone.

    Where the fold is of generators, bona fide trials have no value; those of the eval sets stay in every fold.
    """
    assert mix.folds is not None
    by = mix.folds.by
    _need_column(everything, by, "folds")
    learned = {name: pool for name, pool in pools.items() if mix.role(name) != "eval"}
    tested = [pool for name, pool in pools.items() if mix.role(name) == "eval"]
    bona_fide = pl.concat(tested, how="diagonal_relaxed") if tested else everything.clear()
    if "label" in bona_fide.columns:
        bona_fide = bona_fide.filter(pl.col("label") == BONA_FIDE, pl.col(by).is_null())
    used = pl.concat([pool.select("utterance_id") for pool in pools.values()])
    reachable = everything.join(used, on="utterance_id", how="semi")
    for fold, values in _fold_values(reachable[by].drop_nulls(), mix.folds.groups, mix.seed):
        inside = pl.col(by).is_in(values).fill_null(False)
        for name, pool in learned.items():
            yield f"{fold}/{name}", _draw(mix, name, pool.filter(~inside))
        held = reachable.filter(inside)
        if by == "attack_id":
            held = _tested_first(fold, held.filter(pl.col("label") == SPOOF), tested, notes)
        test = pl.concat([held, bona_fide], how="diagonal_relaxed")
        test = test.unique("utterance_id", keep="first").sort("utterance_id")
        labels = test["label"].drop_nulls().unique().to_list()
        if len(labels) < 2:
            notes.append(f"fold {fold}: every trial to test on is {labels[0] if labels else 'without a label'}")
        yield f"{fold}/eval", test.with_columns(pl.lit("eval").alias("split"))


def _tested_first(fold: str, held: pl.DataFrame, tested: list[pl.DataFrame], notes: list[str]) -> pl.DataFrame:
    """A generator's trials in the eval sets; only where there are none, those of other splits, with a note."""
    inside = (
        pl.concat([pool.select("utterance_id") for pool in tested])
        if tested
        else held.select("utterance_id").clear()
    )
    kept = held.join(inside, on="utterance_id", how="semi")
    if len(kept):
        return kept
    notes.append(
        f"fold {fold}: no eval trial is of it; those of train and dev are tested on, whose speakers recur"
    )
    return held


def _fold_values(column: pl.Series, groups: int | None, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Name and values of each fold."""
    values = column.unique().sort()
    if groups is None:
        names: dict[str, str] = {}
        for value in values:
            name = "without-" + "".join(c if c.isalnum() or c in "-_.+" else "_" for c in value)
            if name in names:
                raise ConfigurationError(f"folds: {names[name]!r} and {value!r} would share the folder {name!r}")
            names[name] = value
            yield name, [value]
        return
    if not 2 <= groups <= len(values):
        raise ConfigurationError(f"folds: {groups} groups of {len(values)} values; use 2 to {len(values)}")
    shuffled = pl.DataFrame({"value": values}).with_columns(hash_order(values, seed)).sort("order")["value"]
    for place in range(groups):
        yield f"fold-{place + 1}", sorted(shuffled.gather_every(groups, place))


def _refuse_overlap(mix: Mix, sets: Mapping[str, pl.DataFrame]) -> None:
    """A trial of train or dev in an eval set (of the same fold) is an error, never a note."""
    folds = {name: name.partition("/")[0] if mix.folds else "" for name in sets}
    roles = {name: frame["split"][0] for name, frame in sets.items()}
    for name, frame in sets.items():
        for other, tested in sets.items():
            if folds[name] != folds[other] or ROLES.index(roles[name]) >= ROLES.index(roles[other]):
                continue
            both = frame.join(tested, on="utterance_id", how="semi")["utterance_id"]
            if len(both):
                raise CorpusError(f"{name} and {other} of mix {mix.name!r} share trials: {first_few(both)}")
