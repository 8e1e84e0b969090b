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
from veravox.augment.curriculum import at_epoch
from veravox.errors import TrainingError, VeravoxError
from veravox.tables import BONA_FIDE, Protocol

STAGE_EPOCHS = 1_000_000
"""Stages count their epochs from multiples of this, so that no two draw alike."""

MASKS = 0x3A5C
"""Sets the numbers for masks apart from a draw's other noise."""


class Draw(NamedTuple):
    """One trial drawn: its noise is seeded by (seed, epoch, position), whichever worker loads it."""

    epoch: int
    position: int
    trial: int


class Window(NamedTuple):
    """What a draw becomes.

    Attributes:
        samples: (S,) float32.
        target: 1.0 for bona fide.
        trial: its index.
        numbers: in [0, 1), float32, shape (N,), that decide on masks of its features; zeros where there are none.
    """

    samples: np.ndarray
    target: float
    trial: int
    numbers: np.ndarray


class Batch(NamedTuple):
    """Windows (B, S), targets (B,), trial indices (B,) and numbers for masks (B, N)."""

    windows: torch.Tensor
    targets: torch.Tensor
    trials: torch.Tensor
    numbers: torch.Tensor


class TrainingWindows(Dataset):
    """One random window of a trial, augmented before it is cropped.

    Args:
        protocol: with `path` and `label` for every trial.
        policy: the `random` window policy.
        augmentation: plain data for `build_chain`; built where it runs.
        seed: of the run.
        masks: how many numbers decide on the masks of a window's features, and how often they are drawn: a
            probability by epoch.
        first_epoch: of curricula, at which the stage starts.
    """

    def __init__(
        self,
        protocol: Protocol,
        policy: WindowPolicy,
        augmentation: Sequence[Mapping[str, Any]],
        seed: int,
        masks: tuple[int, Mapping[int, float]] = (0, {}),
        first_epoch: int = 0,
    ) -> None:
        protocol.require("path", "label")
        self.paths = protocol.audio_paths()
        self.targets = [float(label == BONA_FIDE) for label in protocol.frame["label"]]
        self.policy, self.seed = policy, seed
        self.augmentation = [dict(item) for item in augmentation]
        self.masks, self.first_epoch = (masks[0], dict(masks[1])), first_epoch
        self._chain: Any = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, draw: Draw) -> Window:
        """The window of a draw."""
        if self._chain is None:
            self._chain = build_chain(self.augmentation)
        rng = np.random.default_rng((self.seed, draw.epoch, draw.position))
        path, rate = self.paths[draw.trial], self.policy.sample_rate_hz
        waveform = read_audio(path, rate)
        try:
            waveform = self._chain.at_epoch(self._curriculum_epoch(draw))(waveform, rate, rng)
        except VeravoxError as error:
            raise type(error)(f"{path!r}: {error}") from error
        window = np.ascontiguousarray(self.policy.draw(waveform, rng), dtype=np.float32)
        return Window(window, self.targets[draw.trial], draw.trial, self._numbers(draw))

    def _curriculum_epoch(self, draw: Draw) -> int:
        return self.first_epoch + draw.epoch % STAGE_EPOCHS

    def _numbers(self, draw: Draw) -> np.ndarray:
        count, probability = self.masks
        if not count:
            return np.zeros(0, dtype=np.float32)
        rng = np.random.default_rng((self.seed, draw.epoch, draw.position, MASKS))
        lot, numbers = rng.random(), rng.random(count, dtype=np.float32)
        return numbers if lot < at_epoch(probability, self._curriculum_epoch(draw)) else np.zeros_like(numbers)


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


def _collate(items: list[Window]) -> Batch:
    windows, targets, indices, numbers = zip(*items, strict=True)
    return Batch(
        torch.from_numpy(np.stack(windows)),
        torch.tensor(targets, dtype=torch.float32),
        torch.tensor(indices),
        torch.from_numpy(np.stack(numbers)),
    )


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def training_loader(dataset: TrainingWindows, sampler: EpochSampler, workers: int) -> DataLoader:
    """Batches in the sampler's order; workers are spawned."""
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
