"""The optimisation steps of one stage."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from veravox.audio import WindowPolicy
from veravox.batches.pairing import Pairing
from veravox.batches.training import STAGE_EPOCHS, Batch, EpochSampler, TrainingWindows, Window, training_loader
from veravox.errors import TrainingError
from veravox.models.detector import SAMPLE_RATE_HZ
from veravox.training.division import Division
from veravox.training.feature_cache import CachedWindows
from veravox.training.objective import Objective
from veravox.training.parts import Groups, hold_frozen_parts
from veravox.training.recipe import Stage, Training
from veravox.training.sharpness_aware import SharpnessAware
from veravox.training.state import STATE_NAME

if TYPE_CHECKING:
    from veravox.training.loop import Run


class Steps:
    """Goes through a stage's batches, one step each.

    Args:
        run: whose detector learns and whose position moves on.
        stage, training: what holds in the stage.
        optimiser: with one group of parameters a part, in the order of `groups`.
        groups: free parameters and learning rate of each part.
    """

    def __init__(
        self,
        run: Run,
        stage: Stage,
        training: Training,
        optimiser: torch.optim.Optimizer,
        groups: Groups,
    ) -> None:
        self.run, self.stage, self.training, self.optimiser, self.groups = run, stage, training, optimiser, groups
        window = run.recipe.detector.window_samples
        policy = WindowPolicy(training.windows, window, window, SAMPLE_RATE_HZ, training.tiled_from)
        division = run.divisions[run.position["stage"]]
        index, masks = run.position["stage"], run.recipe.feature_masks()
        windows = TrainingWindows(
            division.train,
            policy,
            run.recipe.augmentation,
            run.recipe.seed,
            masks=(masks.numbers, masks.probability) if masks else (0, {}),
            synthesis=run.recipe.synthesis,
            splice_probability=run.recipe.splice_probability,
            first_epoch=run.recipe.first_epoch(index),
        )
        dataset: Dataset[Window] = windows
        if training.cache_copies:
            dataset = CachedWindows(
                windows, run.cache, training.cache_copies, training.cache_share, run.workers, run.progress
            )
        draws = training.draws or len(division.train)
        self.sampler = EpochSampler(
            division.train,
            division.balance,
            draws,
            training.batch_size,
            run.recipe.seed,
            run.ranks.rank,
            run.ranks.count,
            self._pairing(division),
            training.nested,
            training.replacement,
            training.drop_last,
            training.size_power,
        )
        self.loader = training_loader(dataset, self.sampler, 0 if training.cache_copies else run.workers)
        self.sharp = SharpnessAware(**training.sharpness) if training.sharpness is not None else None
        self.objective = Objective(run.detector, stage, training, division, run.ranks, run.device, masks)
        self.first_epoch = run.recipe.stages.index(stage) * STAGE_EPOCHS
        if self.objective.routing and run.ranks.leads:
            run.say(f"{stage.name}: {self.objective.routing}")

    def _pairing(self, division: Division) -> Pairing | None:
        recipe = self.run.recipe
        if not recipe.synthesis:
            return None
        share, start = recipe.copied_share(), recipe.first_epoch(self.run.position["stage"])
        # Epochs of draws count on from another number in every stage; those of curricula go on over all.
        return Pairing(
            division.train, division.balance, lambda epoch: share(start + epoch % STAGE_EPOCHS), recipe.seed
        )

    def epoch(self) -> bool:
        """Do the rest of the current epoch; False if a signal asks to stop."""
        run, position = self.run, self.run.position
        run.detector.train()
        hold_frozen_parts(run.detector, self.stage, self.training)
        # Stages differ in their draws and noise: each counts its epochs from another number.
        self.sampler.set_position(self.first_epoch + position["epoch"], position["batch"])
        what = f"{self.stage.name} {position['epoch'] + 1}/{self.training.epochs}"
        with run.progress(what, len(self.sampler)) as advance:
            advance(position["batch"])
            for batch in self.loader:
                loss = self._one(batch)
                run.count(loss, batch)
                position["batch"] += 1
                position["step"] += 1
                advance(1)
                if run.ranks.agree(run.stopping):
                    return False
        return True

    def _one(self, batch: Batch) -> float:
        self._schedule()
        if self.sharp is not None:
            loss = self.sharp.step(
                self.optimiser,
                # The step itself checks that it is finite.
                lambda: self.objective(batch.windows, batch.targets, batch.trials, batch.numbers),
                model=self.run.detector,
                before_update=self._clip,
            )
            return float(loss)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()
        self._clip()
        self.optimiser.step()
        return float(loss.detach())

    def _loss(self, batch: Batch) -> Tensor:
        loss = self.objective(batch.windows, batch.targets, batch.trials, batch.numbers)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"the loss is not finite at step {self.run.position['step']}; lower the learning rate "
                f"or set training.precision=float32 (the last state is in {STATE_NAME})"
            )
        return loss

    def _clip(self) -> None:
        if self.training.gradient_clip:
            for parameters, _ in self.groups.values():
                nn.utils.clip_grad_norm_(parameters, self.training.gradient_clip)

    def _schedule(self) -> None:
        """Cosine from the learning rate to the smallest over the stage's steps, or halved every so many epochs."""
        if self.training.halving_epochs is not None:
            share = 0.5 ** (self.run.position["epoch"] // self.training.halving_epochs)
            for group, (_, rate) in zip(self.optimiser.param_groups, self.groups.values(), strict=True):
                group["lr"] = rate * share
            return
        total = self.training.epochs * len(self.sampler)
        done = self.run.position["epoch"] * len(self.sampler) + self.run.position["batch"]
        share = 0.5 * (1.0 + math.cos(math.pi * done / max(total, 1)))
        for group, (_, rate) in zip(self.optimiser.param_groups, self.groups.values(), strict=True):
            floor = min(self.training.min_learning_rate, rate)
            group["lr"] = floor + (rate - floor) * share
