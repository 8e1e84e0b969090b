"""Which trials a run may see, and how its records name them."""

from __future__ import annotations

import hashlib

import polars as pl

from veravox.errors import TrainingError, first_few
from veravox.tables import Protocol


def refuse_eval(train: Protocol, dev: Protocol) -> None:
    """Check that training may see these trials.

    Raises:
        TrainingError: if a trial belongs to an eval split, or is in both protocols, or a class is missing.
    """
    for protocol, role in ((train, "train"), (dev, "dev")):
        protocol.require("path", "label")
        if "split" in protocol.frame.columns:
            split = pl.col("split").str.to_lowercase()
            seen = protocol.frame.filter(split.is_in(["eval", "test", "evaluation", "testing"]))
            if len(seen):
                raise TrainingError(
                    f"{protocol.name}: {len(seen)} eval trials given as {role}, first "
                    f"{first_few(seen['utterance_id'])}; training sees train and dev only"
                )
        if protocol.frame["label"].n_unique() < 2:
            raise TrainingError(f"{protocol.name}: {role} needs both bona fide and spoof trials")
    shared = set(train.audio_paths()) & set(dev.audio_paths()) | set(train.utterance_ids) & set(dev.utterance_ids)
    if shared:
        raise TrainingError(f"{len(shared)} trials are in both train and dev, first {first_few(sorted(shared))}")


def protocol_hash(protocol: Protocol) -> str:
    """SHA-256 over ids, labels and paths as written, so that provenance names its trials."""
    columns = [name for name in ("utterance_id", "label", "path") if name in protocol.frame.columns]
    return hashlib.sha256(protocol.frame.select(columns).write_csv().encode()).hexdigest()
