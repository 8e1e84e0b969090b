"""Training batches: a seeded, balanced draw of trials; each augmented, then cropped."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from veravox.audio import WindowPolicy, read_audio
from veravox.augment import build_chain
from veravox.errors import TrainingError, VeravoxError
from veravox.tables import BONA_FIDE, Protocol

STAGE_EPOCHS = 1_000_000
"""Stages count their epochs from multiples of this, so that no two draw alike."""


class Draw(NamedTuple):
    """One trial drawn: its noise is seeded by (seed, epoch, position), whichever worker loads it."""

    epoch: int
    position: int
    trial: int


class TrainingWindows(Dataset):
    """One random window of a trial, augmented before it is cropped.

    Args:
        protocol: with `path` and `label` for every trial.
        policy: the `random` window policy.
        augmentation: plain data for `build_chain`; built where it runs.
        seed: of the run.
    """

    def __init__(
        self, protocol: Protocol, policy: WindowPolicy, augmentation: Sequence[Mapping[str, Any]], seed: int
    ) -> None:
        protocol.require("path", "label")
        self.paths = protocol.audio_paths()
        self.targets = [float(label == BONA_FIDE) for label in protocol.frame["label"]]
        self.policy, self.seed = policy, seed
        self.augmentation = [dict(item) for item in augmentation]
        self._chain: Any = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, draw: Draw) -> tuple[np.ndarray, float, int]:
        """Window (S,) float32, 1.0 for bona fide, index of the trial."""
        if self._chain is None:
            self._chain = build_chain(self.augmentation)
        rng = np.random.default_rng((self.seed, draw.epoch, draw.position))
        path, rate = self.paths[draw.trial], self.policy.sample_rate_hz
        waveform = read_audio(path, rate)
        try:
            waveform = self._chain.at_epoch(draw.epoch % STAGE_EPOCHS)(waveform, rate, rng)
        except VeravoxError as error:
            raise type(error)(f"{path!r}: {error}") from error
        window = np.ascontiguousarray(self.policy.draw(waveform, rng), dtype=np.float32)
        return window, self.targets[draw.trial], draw.trial


class EpochSampler(Sampler[list[Draw]]):
    """Batches of draws, balanced over strata: every stratum gives the same number, each trial in turn.

    A stratum is cycled through in a fresh random order, so that its trials are used equally often.

    Args:
        protocol: the training trials.
        balance: columns whose combined values are the strata; empty for none.
        draws: trials an epoch, over all ranks.
        batch_size: over all ranks; the last batch may be smaller.
        seed: of the run.
        rank, ranks: this process takes every `ranks`-th draw of each batch.
    """

    def __init__(
        self,
        protocol: Protocol,
        balance: Sequence[str],
        draws: int,
        batch_size: int,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        protocol.require(*balance)
        if draws < 1 or batch_size < ranks:
            raise TrainingError(f"{draws} draws in batches of {batch_size} for {ranks} processes: too few")
        keys = list(protocol.frame.select(balance).iter_rows()) if balance else [()] * len(protocol)
        strata: dict[tuple[Any, ...], list[int]] = {}
        for index, key in enumerate(keys):
            strata.setdefault(key, []).append(index)
        self.strata = [np.array(strata[key]) for key in sorted(strata)]
        self.draws, self.batch_size, self.seed = draws, batch_size, seed
        self.rank, self.ranks = rank, ranks
        self.epoch, self.first_batch = 0, 0

    def set_position(self, epoch: int, batch: int = 0) -> None:
        """Start the next iteration at a batch of an epoch."""
        self.epoch, self.first_batch = epoch, batch

    def __len__(self) -> int:
        return -(-self.draws // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the epoch's trials, shape (draws,)."""
        rng = np.random.default_rng((self.seed, epoch, 0xD7A3))
        share = -(-self.draws // len(self.strata))
        columns = []
        for members in self.strata:
            rounds = [rng.permutation(members) for _ in range(-(-share // len(members)))]
            columns.append(np.concatenate(rounds)[:share])
        # Strata alternate, so that every batch is balanced; which one comes first changes.
        mixed = np.stack(columns, axis=1)
        return rng.permuted(mixed, axis=1).reshape(-1)[: self.draws]

    def __iter__(self) -> Iterator[list[Draw]]:
        order = self.order(self.epoch)
        for batch in range(self.first_batch, len(self)):
            positions = range(batch * self.batch_size, min((batch + 1) * self.batch_size, self.draws))
            # Processes wait for one another: where a last batch is too small for all, some repeat its first draw.
            mine = positions[self.rank :: self.ranks] or positions[:1]
            yield [Draw(self.epoch, position, int(order[position])) for position in mine]


def _collate(items: list[tuple[np.ndarray, float, int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    windows, targets, indices = zip(*items, strict=True)
    return (
        torch.from_numpy(np.stack(windows)),
        torch.tensor(targets, dtype=torch.float32),
        torch.tensor(indices),
    )


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def training_loader(dataset: TrainingWindows, sampler: EpochSampler, workers: int) -> DataLoader:
    """Batches (windows (B, S), targets (B,), trial indices (B,)) in the sampler's order; workers are spawned."""
    options: dict[str, Any] = {}
    if workers:
        options = {
            "multiprocessing_context": "spawn",
            "persistent_workers": True,
            "prefetch_factor": 4,
            "worker_init_fn": _leave_interrupts_to_the_main_process,
        }
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=_collate,
        generator=torch.Generator().manual_seed(dataset.seed),
        **options,
    )
