"""Trials divided among experts: by domain, or by a random partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from veravox.errors import TrainingError, first_few
from veravox.tables import Protocol

ALL = "*"
PARTITION_COLUMN = "expert_by_lot"


@dataclass(frozen=True)
class Division:
    """The trials of a stage.

    Attributes:
        train: the trials that are drawn; those that no expert learns from are left out.
        balance: columns whose combined values are drawn equally often.
        owned: (trials, E), whether the expert learns from the trial; None if every expert learns from all.
        dev: by expert, the dev trials (boolean) that choose its best weights; empty if all.
    """

    train: Protocol
    balance: tuple[str, ...]
    owned: np.ndarray | None = None
    dev: dict[str, np.ndarray] = field(default_factory=dict)


def by_domain(
    stage: str,
    domains: Mapping[str, str],
    balance: tuple[str, ...],
    experts: Sequence[str],
    train: Protocol,
    dev: Protocol,
) -> Division:
    """Every expert learns from the trials of its domain, and its best epoch is chosen on those of dev.

    Args:
        stage: name of the stage, for messages.
        domains: by expert, its domain; `*` for all trials. An expert that is not named learns from none.
        balance: columns whose combined values are drawn equally often.
        experts: names, in order.
        train, dev: trials with `domain` and `label`.
    Raises:
        TrainingError: if an expert has no trials of one class.
    """
    train.require("domain")
    dev.require("domain")
    columns, own_dev = [], {}
    for name in experts:
        domain = domains.get(name)
        masks = []
        for protocol, role in ((train, "train"), (dev, "dev")):
            column = protocol.frame["domain"].cast(pl.String)
            mask = np.zeros(len(protocol), dtype=bool)
            if domain is not None:
                mask = np.ones_like(mask) if domain == ALL else (column == domain).fill_null(False).to_numpy()
                _require_both(stage, name, f"domain {domain!r}", protocol, mask, role)
            masks.append(mask)
        columns.append(masks[0])
        own_dev[name] = masks[1] if domain is not None else np.ones(len(dev), dtype=bool)
    owned = np.stack(columns, axis=1)
    drawn = owned.any(axis=1)
    balance = balance if "domain" in balance else (*balance, "domain")
    return Division(train.with_frame(train.frame.filter(pl.Series(drawn))), balance, owned[drawn], own_dev)


def random_partition(
    stage: str,
    learners: Sequence[str],
    balance: tuple[str, ...],
    experts: Sequence[str],
    train: Protocol,
    seed: int,
) -> Division:
    """Every trial belongs to one expert: the shuffled trials of each stratum are dealt out in turn.

    Args:
        stage: name of the stage, for messages.
        learners: the experts that get trials.
        balance: columns whose combined values are the strata, and are drawn equally often.
        experts: names, in order.
        train: trials with `label`.
        seed: of the shuffle.
    Raises:
        TrainingError: if an expert has no trials of one class.
    """
    learning = [index for index, name in enumerate(experts) if name in learners]
    rng = np.random.default_rng((seed, 0x9A27))
    owner = np.full(len(train), -1)
    keys = train.frame.select(list(dict.fromkeys((*balance, "label"))))
    strata: dict[tuple[object, ...], list[int]] = {}
    for index, key in enumerate(keys.iter_rows()):
        strata.setdefault(key, []).append(index)
    dealt = 0
    for stratum in sorted(strata, key=str):
        for trial in rng.permutation(strata[stratum]):
            owner[trial] = learning[dealt % len(learning)]
            dealt += 1
    owned = owner[:, None] == np.arange(len(experts))
    for index in learning:
        _require_both(stage, experts[index], "its share of the trials", train, owned[:, index], "train")
    parts = pl.Series(PARTITION_COLUMN, [experts[index] for index in owner])
    return Division(train.with_frame(train.frame.with_columns(parts)), (*balance, PARTITION_COLUMN), owned)


def _require_both(stage: str, expert: str, what: str, protocol: Protocol, mask: np.ndarray, role: str) -> None:
    labels = set(protocol.frame["label"].filter(pl.Series(mask)))
    if len(labels) == 2:
        return
    present = f"only {labels.pop()} trials" if labels else "no trials"
    known = ""
    if "domain" in protocol.frame.columns:
        domains = sorted(set(protocol.frame["domain"].drop_nulls().cast(pl.String)))
        known = f"; domains there: {', '.join(domains) if len(domains) < 9 else first_few(domains)}"
    raise TrainingError(
        f"stage {stage!r}: expert {expert!r} learns from {what}, which has {present} in {role}{known}"
    )


__all__ = ["ALL", "PARTITION_COLUMN", "Division", "by_domain", "random_partition"]
