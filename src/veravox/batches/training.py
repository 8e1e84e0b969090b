"""Training batches: a seeded, balanced draw of trials; each augmented, then cropped."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from veravox.audio import WindowPolicy, read_audio
from veravox.batches import build_chain
from veravox.batches.copies import SpoofedCopy, build_synthesis
from veravox.batches.curriculum import Probability, at_epoch
from veravox.batches.pairing import COPIES, Draw, Pairing
from veravox.errors import TrainingError, VeravoxError
from veravox.tables import BONA_FIDE, SPOOF, Protocol

STAGE_EPOCHS = 1_000_000
"""Stages count their epochs from multiples of this, so that no two draw alike."""

MASKS = 0x3A5C
"""Sets the numbers for masks apart from a draw's other noise."""


MIN_SPOOF_S = 0.1
"""A window with less of a spoofed copy in it, at the edge of a piece, is bona fide."""

RECORDED, COPIED, SPLICED = range(3)
"""Kinds of windows: as recorded, a spoofed copy, a copy in parts of its original."""


class Window(NamedTuple):
    """What a draw becomes.

    Attributes:
        samples: (S,) float32.
        target: 1.0 for bona fide.
        trial: its index; that of the original for a copy.
        mask_draws: float32 (N,) in [0, 1), from which masks of its features are made; zeros for no masks.
        kind: `RECORDED`, `COPIED` or `SPLICED`.
        attack_id: of a copy, its synthesis; None for what is recorded.
        pieces: what is spoofed in it: (start_s, end_s, label) over all of it.
    """

    samples: np.ndarray
    target: float
    trial: int
    mask_draws: np.ndarray
    kind: int
    attack_id: str | None
    pieces: tuple[tuple[float, float, str], ...]


class Batch(NamedTuple):
    """Windows (B, S), targets (B,), trial indices (B,), numbers for masks (B, N) and kinds (B,)."""

    windows: torch.Tensor
    targets: torch.Tensor
    trials: torch.Tensor
    mask_draws: torch.Tensor
    kinds: torch.Tensor


class TrainingWindows(Dataset):
    """One random window of a trial, copied where the draw says so, and augmented before it is cropped.

    A copy goes through the same noise and the same crop as its original, so that the two differ by the synthesis
    alone. It is labelled by what is left after cropping: spoof if at least `MIN_SPOOF_S` of the window is.

    Args:
        protocol: with `path` and `label` for every trial.
        policy: the `random` window policy.
        augmentation: plain data for `build_chain`; built where it runs.
        seed: of the run.
        masks: how many numbers decide on the masks of a window's features, and how often they are drawn: a
            probability by epoch.
        synthesis, splice_probability: plain data for `build_synthesis`; built where it runs.
        first_epoch: of curricula, at which the stage starts.
    """

    def __init__(
        self,
        protocol: Protocol,
        policy: WindowPolicy,
        augmentation: Sequence[Mapping[str, Any]],
        seed: int,
        masks: tuple[int, Mapping[int, float]] = (0, {}),
        synthesis: Sequence[Mapping[str, Any]] = (),
        splice_probability: Probability = 0.0,
        first_epoch: int = 0,
    ) -> None:
        protocol.require("path", "label")
        self.paths = protocol.audio_paths()
        self.targets = [float(label == BONA_FIDE) for label in protocol.frame["label"]]
        self.policy, self.seed = policy, seed
        self.augmentation = [dict(item) for item in augmentation]
        self.masks, self.first_epoch = (masks[0], dict(masks[1])), first_epoch
        self.synthesis, self.splice_probability = [dict(item) for item in synthesis], splice_probability
        self._chain: Any = None
        self._copies: Any = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, draw: Draw) -> Window:
        """The window of a draw.

        Raises:
            VeravoxError: naming the file and what failed.
        """
        if self._chain is None:
            self._chain = build_chain(self.augmentation)
            self._copies = build_synthesis(self.synthesis, self.splice_probability)
        rng = np.random.default_rng((self.seed, draw.epoch, draw.noise))
        path, rate, epoch = self.paths[draw.trial], self.policy.sample_rate_hz, self._curriculum_epoch(draw)
        waveform = read_audio(path, rate)
        copy: SpoofedCopy | None = None
        try:
            if draw.original is not None:
                own = np.random.default_rng((self.seed, draw.epoch, draw.position, COPIES))
                copy = self._copies.at_epoch(epoch).copy(waveform, rate, own)
            augmented = self._chain.at_epoch(epoch)(waveform if copy is None else copy.waveform, rate, rng)
        except VeravoxError as error:
            raise type(error)(f"{path!r}: {error}") from error
        same = deepcopy(rng)
        window = np.ascontiguousarray(self.policy.draw(augmented, rng), dtype=np.float32)
        mask_draws, target = self._mask_draws(draw), self.targets[draw.trial]
        if copy is None:
            whole = ((0.0, len(window) / rate, BONA_FIDE if target else SPOOF),)
            return Window(window, target, draw.trial, mask_draws, RECORDED, None, whole)
        spoofed = self.policy.draw(_spoofed(copy, len(waveform), len(augmented), rate), same)
        target = float(spoofed.sum() < MIN_SPOOF_S * rate)
        kind = COPIED if len(copy.pieces) == 1 else SPLICED
        return Window(window, target, draw.trial, mask_draws, kind, copy.attack_id, _pieces(spoofed, rate))

    def _curriculum_epoch(self, draw: Draw) -> int:
        return self.first_epoch + draw.epoch % STAGE_EPOCHS

    def _mask_draws(self, draw: Draw) -> np.ndarray:
        count, probability = self.masks
        if not count:
            return np.zeros(0, dtype=np.float32)
        rng = np.random.default_rng((self.seed, draw.epoch, draw.noise, MASKS))
        lot, mask_draws = rng.random(), rng.random(count, dtype=np.float32)
        return (
            mask_draws if lot < at_epoch(probability, self._curriculum_epoch(draw)) else np.zeros_like(mask_draws)
        )


def _spoofed(copy: SpoofedCopy, samples: int, augmented: int, rate: int) -> np.ndarray:
    """Which of `augmented` samples are of a copy, whose `samples` the augmentation may have stretched."""
    mask = np.zeros(samples, dtype=bool)
    for start_s, end_s, label in copy.pieces:
        mask[round(start_s * rate) : round(end_s * rate)] = label == SPOOF
    return mask if augmented == samples else mask[np.arange(augmented) * samples // augmented]


def _pieces(spoofed: np.ndarray, rate: int) -> tuple[tuple[float, float, str], ...]:
    """Stretches of one label, in seconds."""
    borders = [0, *(np.flatnonzero(np.diff(spoofed)) + 1).tolist(), len(spoofed)]
    return tuple(
        (start / rate, end / rate, SPOOF if spoofed[start] else BONA_FIDE)
        for start, end in itertools.pairwise(borders)
    )


class EpochSampler(Sampler[list[Draw]]):
    """Batches of draws, balanced over strata: every stratum gives the same number, each trial in turn.

    A stratum is cycled through in a fresh random order, so that its trials are used equally often, unless they are
    drawn with replacement.

    Args:
        protocol: the training trials.
        balance: columns whose combined values are the strata; empty for none.
        nested: values of the first column give the same number each; within one, values of the second do; ...
        power: where it is not 0, values below the first column are drawn in proportion to their size, to it.
        draws: trials an epoch, over all ranks.
        batch_size: over all ranks; the last batch may be smaller, unless it is dropped.
        seed: of the run.
        rank, ranks: this process takes every `ranks`-th draw of each batch.
        pairing: what puts copies into batches.
        replacement: draw each time from all of the stratum.
        drop_last: leave out a last batch that would be smaller, unless it is the only one.
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
        pairing: Pairing | None = None,
        nested: bool = False,
        replacement: bool = False,
        drop_last: bool = False,
        power: float = 0.0,
    ) -> None:
        protocol.require(*balance)
        if draws < 1 or batch_size < ranks:
            raise TrainingError(f"{draws} draws in batches of {batch_size} for {ranks} processes: too few")
        keys = list(protocol.frame.select(balance).iter_rows()) if balance else [()] * len(protocol)
        strata: dict[tuple[Any, ...], list[int]] = {}
        for index, key in enumerate(keys):
            strata.setdefault(key, []).append(index)
        order = sorted(strata, key=lambda key: tuple(str(value) for value in key))
        self.strata = [np.array(strata[key]) for key in order]
        self.nested, self.power = _nest(order) if nested and balance else None, power
        self.draws, self.batch_size, self.seed = draws, batch_size, seed
        self.rank, self.ranks, self.pairing = rank, ranks, pairing
        self.replacement, self.drop_last = replacement, drop_last
        self.epoch, self.first_batch = 0, 0

    def set_position(self, epoch: int, batch: int = 0) -> None:
        """Start the next iteration at a batch of an epoch."""
        self.epoch, self.first_batch = epoch, batch

    def __len__(self) -> int:
        whole = self.draws // self.batch_size
        return max(whole, 1) if self.drop_last else -(-self.draws // self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the epoch's trials, shape (draws,)."""
        rng = np.random.default_rng((self.seed, epoch, 0xD7A3))
        if self.nested is not None:
            return _drawn_from(self.nested, self.strata, self.draws, rng, self.power)
        share = -(-self.draws // len(self.strata))
        columns = []
        for members in self.strata:
            if self.replacement:
                columns.append(rng.choice(members, share))
                continue
            rounds = [rng.permutation(members) for _ in range(-(-share // len(members)))]
            columns.append(np.concatenate(rounds)[:share])
        # Strata alternate, so that every batch is balanced; which one comes first changes.
        mixed = np.stack(columns, axis=1)
        return rng.permuted(mixed, axis=1).reshape(-1)[: self.draws]

    def __iter__(self) -> Iterator[list[Draw]]:
        order = self.order(self.epoch)
        for batch in range(self.first_batch, len(self)):
            positions = range(batch * self.batch_size, min((batch + 1) * self.batch_size, self.draws))
            draws = [Draw(self.epoch, position, int(order[position])) for position in positions]
            if self.pairing is not None:
                draws = self.pairing.paired(draws, batch)
            # Processes wait for one another: where a last batch is too small for all, some repeat its first draw.
            yield draws[self.rank :: self.ranks] or draws[:1]


Nest = int | list[Any]
"""A stratum, or the nests below one value of a column."""


def _nest(keys: Sequence[tuple[Any, ...]], first: int = 0, depth: int = 0) -> Nest:
    """Strata by the values of one column after another; `keys` are sorted."""
    if depth == len(keys[0]):
        return first
    nests: list[Nest] = []
    for _, members in itertools.groupby(keys, key=lambda key: str(key[depth])):
        group = list(members)
        nests.append(_nest(group, first, depth + 1))
        first += len(group)
    return nests


def _size(nest: Nest, strata: Sequence[np.ndarray]) -> int:
    return len(strata[nest]) if isinstance(nest, int) else sum(_size(part, strata) for part in nest)


def _drawn_from(
    nest: Nest,
    strata: Sequence[np.ndarray],
    draws: int,
    rng: np.random.Generator,
    power: float = 0.0,
    depth: int = 0,
) -> np.ndarray:
    """Trials of a nest, shape (draws,): its parts take turns in a random order, and so do theirs.

    Below the first column, a part of n trials is drawn in proportion to n ** power, where that is not 0.
    """
    if isinstance(nest, int):
        members = strata[nest]
        rounds = [rng.permutation(members) for _ in range(-(-draws // len(members)))]
        return np.concatenate(rounds)[:draws] if rounds else members[:0]
    turns = -(-draws // len(nest))
    rounds = [rng.permutation(len(nest)) for _ in range(turns)] or [np.zeros(0, dtype=np.int64)]
    order = np.concatenate(rounds)[:draws]
    if power and depth:
        shares = np.array([_size(part, strata) for part in nest], dtype=np.float64) ** power
        order = rng.choice(len(nest), draws, p=shares / shares.sum())
    trials = np.empty(draws, dtype=np.int64)
    for index, part in enumerate(nest):
        own = order == index
        trials[own] = _drawn_from(part, strata, int(own.sum()), rng, power, depth + 1)
    return trials


def _collate(items: list[Window]) -> Batch:
    return Batch(
        torch.from_numpy(np.stack([item.samples for item in items])),
        torch.tensor([item.target for item in items], dtype=torch.float32),
        torch.tensor([item.trial for item in items]),
        torch.from_numpy(np.stack([item.mask_draws for item in items])),
        torch.tensor([item.kind for item in items]),
    )


def _leave_interrupts_to_the_main_process(worker: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def training_loader(dataset: Dataset[Window], sampler: EpochSampler, workers: int) -> DataLoader:
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
        generator=torch.Generator().manual_seed(sampler.seed),
        **options,
    )
