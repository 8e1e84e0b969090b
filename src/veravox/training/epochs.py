"""The batches of a stage, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import Dataset

from veravox.audio import WindowPolicy
from veravox.batches.pairing import Pairing
from veravox.batches.training import STAGE_EPOCHS, Batch, EpochSampler, TrainingWindows, Window, training_loader
from veravox.models.detector import SAMPLE_RATE_HZ
from veravox.training.division import Division
from veravox.training.feature_cache import CachedWindows
from veravox.training.run import TrainingRun
from veravox.training.stages import Stage


class EpochBatches:
    """Batches of the stage at which a run stands.

    Args:
        run: the run.
        stage: its stage now.
    Attributes:
        division: the trials of the stage, and which expert learns from which.
    """

    def __init__(self, run: TrainingRun, stage: Stage) -> None:
        training, recipe, index = stage.training, run.recipe, run.position.stage
        self.division = division = run.divisions[index]
        self._sampler = EpochSampler(
            division.train,
            division.balance,
            training.draws or len(division.train),
            training.batch_size,
            recipe.seed,
            run.processes.rank,
            run.processes.count,
            _pairing(run, division),
            training.nested,
            training.replacement,
            training.drop_last,
            training.size_power,
        )
        workers = 0 if training.cache_copies else run.workers
        self._loader = training_loader(_windows(run, stage, division), self._sampler, workers)
        # Stages differ in their draws and noise: each counts its epochs from another number.
        self._first_epoch = index * STAGE_EPOCHS

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return len(self._sampler)

    def rest_of(self, epoch: int, batch: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from one of them on."""
        self._sampler.set_position(self._first_epoch + epoch, batch)
        return iter(self._loader)


def _windows(run: TrainingRun, stage: Stage, division: Division) -> Dataset[Window]:
    training, recipe, masks = stage.training, run.recipe, run.recipe.feature_masks()
    samples = recipe.detector.window_samples
    windows = TrainingWindows(
        division.train,
        WindowPolicy(training.windows, samples, samples, SAMPLE_RATE_HZ, training.tiled_from),
        recipe.augmentation,
        recipe.seed,
        masks=(masks.mask_draws, masks.probability) if masks else (0, {}),
        synthesis=recipe.synthesis,
        splice_probability=recipe.splice_probability,
        first_epoch=recipe.first_epoch(run.position.stage),
    )
    if not training.cache_copies:
        return windows
    return CachedWindows(
        windows, run.cache, training.cache_copies, training.cache_share, run.workers, run.progress
    )


def _pairing(run: TrainingRun, division: Division) -> Pairing | None:
    recipe = run.recipe
    if not recipe.synthesis:
        return None
    share, start = recipe.copied_share(), recipe.first_epoch(run.position.stage)
    # Epochs of draws count on from another number in every stage; those of curricula go on over all.
    return Pairing(
        division.train, division.balance, lambda epoch: share(start + epoch % STAGE_EPOCHS), recipe.seed
    )
