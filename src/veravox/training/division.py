"""Which trials a stage draws, and which expert learns from which: by domain, by lot, or all from all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from veravox.errors import TrainingError, first_few
from veravox.tables import Protocol
from veravox.training.recipe import Stage, Training

ALL = "*"
PART = "expert_by_lot"


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


def divide(
    stage: Stage, training: Training, experts: Sequence[str], train: Protocol, dev: Protocol, seed: int
) -> Division:
    """The trials of a stage, divided among experts as it asks for.

    Raises:
        TrainingError: if an expert would learn from, or be chosen by, trials of one class or none.
    """
    if training.domains:
        return _by_domain(stage, training, experts, train, dev)
    if training.partition:
        return _by_lot(stage, training, experts, train, seed)
    return Division(train, training.balance)


def _by_domain(
    stage: Stage, training: Training, experts: Sequence[str], train: Protocol, dev: Protocol
) -> Division:
    train.require("domain")
    dev.require("domain")
    columns, chosen = [], {}
    for name in experts:
        wanted = training.domains.get(name)
        masks = []
        for protocol, role in ((train, "train"), (dev, "dev")):
            domains = protocol.frame["domain"].cast(pl.String)
            mask = np.zeros(len(protocol), dtype=bool)
            if wanted is not None:
                mask = np.ones_like(mask) if wanted == ALL else (domains == wanted).fill_null(False).to_numpy()
                _require_both(stage, name, f"domain {wanted!r}", protocol, mask, role)
            masks.append(mask)
        columns.append(masks[0])
        chosen[name] = masks[1] if wanted is not None else np.ones(len(dev), dtype=bool)
    owned = np.stack(columns, axis=1)
    kept = owned.any(axis=1)
    balance = training.balance if "domain" in training.balance else (*training.balance, "domain")
    return Division(train.with_frame(train.frame.filter(pl.Series(kept))), balance, owned[kept], chosen)


def _by_lot(stage: Stage, training: Training, experts: Sequence[str], train: Protocol, seed: int) -> Division:
    """Deal the shuffled trials of each stratum out in turn, so that every expert gets as much of each."""
    learning = [index for index, name in enumerate(experts) if name not in training.freeze]
    rng = np.random.default_rng((seed, 0x9A27))
    owner = np.full(len(train), -1)
    keys = train.frame.select(list(dict.fromkeys((*training.balance, "label"))))
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
    parts = pl.Series(PART, [experts[index] for index in owner])
    return Division(train.with_frame(train.frame.with_columns(parts)), (*training.balance, PART), owned)


def _require_both(stage: Stage, expert: str, what: str, protocol: Protocol, mask: np.ndarray, role: str) -> None:
    labels = set(protocol.frame["label"].filter(pl.Series(mask)))
    if len(labels) == 2:
        return
    found = f"only {labels.pop()} trials" if labels else "no trials"
    known = ""
    if "domain" in protocol.frame.columns:
        domains = sorted(set(protocol.frame["domain"].drop_nulls().cast(pl.String)))
        known = f"; domains there: {', '.join(domains) if len(domains) < 9 else first_few(domains)}"
    raise TrainingError(
        f"stage {stage.name!r}: expert {expert!r} learns from {what}, which has {found} in {role}{known}"
    )
