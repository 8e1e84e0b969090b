"""One run in its folder: where it stands, what it keeps, and how it goes on after a stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from veravox.audio import window_policy
from veravox.batches import build_chain, build_synthesis
from veravox.batches.training import COPIED, SPLICED, Batch
from veravox.errors import TrainingError
from veravox.files import write_text
from veravox.models.checkpoint import CHECKPOINT_NAME
from veravox.models.detector import DetectorModel
from veravox.models.mixture import MIN_NORM_WINDOWS
from veravox.models.renamed_keys import with_current_keys
from veravox.tables import Protocol
from veravox.training.division import Division
from veravox.training.feature_cache import FeatureCache
from veravox.training.files import FileCheck, OnBadFile
from veravox.training.parts import parameter_groups
from veravox.training.processes import Processes
from veravox.training.random_state import RandomState, seed_random
from veravox.training.recipe import Recipe
from veravox.training.selection import BestWeights, DevSet
from veravox.training.stages import Stage
from veravox.training.state import STATE_NAME, read_state, write_state
from veravox.training.track import Progress, Tracker
from veravox.training.trials import protocol_hash, refuse_eval

SUMS = 6
"""Of an epoch: loss, windows; of these bona fide ones, copies, splices, splices cut where they are bona fide."""

STATE_EVERY_S = 300.0
"""Seconds between two states that a run keeps within an epoch."""


@dataclass
class Position:
    """Where a run stands: the next batch of an epoch of a stage, and the steps taken so far."""

    stage: int = 0
    epoch: int = 0
    batch: int = 0
    step: int = 0


class TrainingRun:
    """One training run in one folder.

    Args:
        recipe: the experiment.
        train, dev: trials with audio and labels; never eval trials.
        out: folder of the run.
        device: where to compute.
        workers: processes that load and augment.
        resume: go on from the folder's state, or begin where there is none.
        processes: this process among those that train together.
        progress: shows steps.
        say: takes one line of text at a time.
        features: folder of cached features; `features` in `out` if None.
        on_bad_file: `stop` if a file cannot be read, or `skip` its trial.
        check: what earlier trainings of these files found.
    Attributes:
        train, dev: the trials whose files can be read.
        skipped: the others.
    Raises:
        TrainingError: for eval trials, a folder in use, another recipe or other data than the folder's, or a stage
            that could not begin.
    """

    def __init__(
        self,
        recipe: Recipe,
        train: Protocol,
        dev: Protocol,
        out: Path,
        device: torch.device,
        workers: int,
        resume: bool,
        processes: Processes,
        progress: Progress,
        say: Callable[[str], None],
        features: Path | None = None,
        on_bad_file: OnBadFile = "stop",
        check: FileCheck | None = None,
    ) -> None:
        refuse_eval(train, dev)
        build_chain(recipe.augmentation)  # a missing folder or package is an error before anything is written
        build_synthesis(recipe.synthesis, recipe.splice_probability)
        self.recipe, self.out = recipe, out
        self.device, self.workers, self.processes = device, workers, processes
        self.progress, self.say = progress, say
        self.divisions = self._divide(train, dev)
        self.policy = window_policy(recipe.policy, recipe.detector.window_s, recipe.hop_s)
        self.stopping = False
        self.position = Position()
        self.sums: list[float] = [0.0] * SUMS
        torch.manual_seed(recipe.seed)
        self.detector = DetectorModel(recipe.detector).to(device)
        for stage in recipe.stages:
            self._check_stage(stage)
        check = check or FileCheck(workers, progress, say, processes)
        self._leave_out_bad_files(train, dev, check, on_bad_file, resume)
        self.dev_set = DevSet(self.dev, self.policy, progress)
        if recipe.caches_features:
            self.cache = FeatureCache(self.detector, features or self.out / "features")
            self.dev_set.use(self.cache, workers)
        seed_random(recipe.seed + 7919 * processes.rank)
        state = self._begin_or_resume(resume)
        if processes.is_main:
            check.write(out)
        self.bests: dict[str, BestWeights] = {}
        self.optimiser_state: Any = None
        if state is not None:
            self._restore(state)
        self._state_kept_at = time.monotonic()
        self.tracker = Tracker(out, state["lines"] if state else 0) if processes.is_main else None
        if self.tracker is not None and self.tracker.missing:
            say(self.tracker.missing)

    def _divide(self, train: Protocol, dev: Protocol) -> list[Division]:
        experts, seed = list(self.recipe.detector.experts), self.recipe.seed
        return [stage.divide(experts, train, dev, seed) for stage in self.recipe.stages]

    def _leave_out_bad_files(
        self, train: Protocol, dev: Protocol, check: FileCheck, on_bad_file: OnBadFile, resume: bool
    ) -> None:
        if resume:
            check.remember(self.out)
        (self.train, bad_train), (self.dev, bad_dev) = (check.usable(part, on_bad_file) for part in (train, dev))
        self.skipped = [*bad_train, *bad_dev]
        if self.skipped:
            refuse_eval(self.train, self.dev)
            self.divisions = self._divide(self.train, self.dev)

    def _check_stage(self, stage: Stage) -> None:
        """What would end the run at the stage's beginning, perhaps hours later, ends it now."""
        parameter_groups(self.detector, stage)
        batch_size, count = stage.training.batch_size, self.processes.count
        if batch_size < MIN_NORM_WINDOWS * count:
            raise TrainingError(
                f"stage {stage.name!r}: batch_size {batch_size} leaves {count} processes "
                f"fewer than {MIN_NORM_WINDOWS} windows each, which batch norms need; raise it"
            )

    def _begin_or_resume(self, resume: bool) -> dict[str, Any] | None:
        """The state to go on from; None where the run begins, its folder then made."""
        path = self.out / STATE_NAME
        if self.processes.share(path.exists()) if resume else False:
            return self._matching_state(path)
        if path.exists():
            raise TrainingError(f"{str(self.out)!r} already holds a run; add --resume, or choose another folder")
        metrics = self.out / "metrics.jsonl"
        if metrics.exists() and metrics.stat().st_size:  # empty, it is of a run that failed in its first epoch
            raise TrainingError(
                f"{str(self.out)!r} already holds a run's metrics, but no {STATE_NAME} to go on from; "
                "choose another folder, or remove this one"
            )
        if (self.out / CHECKPOINT_NAME).exists():
            raise TrainingError(f"{str(self.out)!r} already holds a detector; choose another folder")
        if resume:
            self.say(f"{self.out} holds no state yet; the run begins")
        if self.processes.is_main:
            self.out.mkdir(parents=True, exist_ok=True)
            write_text(self.out / "recipe.yaml", self.recipe.to_yaml())
        self.processes.barrier()
        return None

    def _matching_state(self, path: Path) -> dict[str, Any]:
        state = read_state(path)
        begun = Recipe.parse(yaml.safe_load(state["recipe"]))  # fields that came later have their defaults
        if begun.to_yaml() != self.recipe.to_yaml() or state["data"] != self._data_hashes():
            raise TrainingError(
                f"{str(path)!r} belongs to another recipe or other data; resume with the same ones"
            )
        return state

    def _data_hashes(self) -> dict[str, str]:
        return {"train": protocol_hash(self.train), "dev": protocol_hash(self.dev)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.position, sums = Position(**state["position"]), list(state["sums"])
        self.sums = sums + [0.0] * (SUMS - len(sums))
        self.detector.load_state_dict(with_current_keys(state["weights"], self.detector))
        self.bests = {name: BestWeights(**best) for name, best in state["bests"].items()}
        self.optimiser_state = state["optimiser"]
        RandomState.from_state(state["random"][self.processes.rank], self.device).restore()

    def save(self, optimiser: torch.optim.Optimizer | None) -> None:
        """Write the state from which `resume` goes on exactly."""
        self._state_kept_at = time.monotonic()
        random = self.processes.gather(RandomState([self.device]).to_state())
        if not self.processes.is_main or self.tracker is None:
            return
        state = {
            "recipe": self.recipe.to_yaml(),
            "data": self._data_hashes(),
            "position": asdict(self.position),
            "sums": self.sums,
            "lines": self.tracker.lines,
            "weights": self.detector.state_dict(),
            "bests": {name: best.to_state() for name, best in self.bests.items()},
            "optimiser": optimiser.state_dict() if optimiser is not None else None,
            "random": random,
        }
        write_state(self.out / STATE_NAME, state)

    def must_stop(self, optimiser: torch.optim.Optimizer) -> bool:
        """Whether a signal asks to stop; the state is kept then, and every so often."""
        due = time.monotonic() - self._state_kept_at >= STATE_EVERY_S
        stop, keep = self.processes.any_of(self.stopping, due)
        if stop or keep:
            self.save(optimiser)
        return stop

    def begin_stage(self, optimiser: torch.optim.Optimizer) -> None:
        """Give the optimiser and the best weights what an interrupted stage had; say what a sparse router does."""
        if self.optimiser_state is not None:
            optimiser.load_state_dict(self.optimiser_state)
            self.optimiser_state = None
        stage = self.recipe.stages[self.position.stage]
        self.bests = self.bests or {name: BestWeights() for name in stage.selected_modules(self.detector)}
        routing = stage.routing(self.detector, masked=self.recipe.spec_augment is not None)
        if routing and self.processes.is_main:
            self.say(f"{stage.name}: {routing}")

    def patience_is_over(self, stage: Stage) -> bool:
        """Whether dev has not improved for as many epochs as the stage waits."""
        latest = max(best.epoch for best in self.bests.values())
        return self.position.epoch - 1 - latest >= stage.training.patience

    def count_step(self, loss: float, batch: Batch) -> None:
        """Move on by a step and add it to the sums of the epoch.

        A step that was skipped, its loss not finite, taught nothing and is not counted.
        """
        self.position.batch += 1
        self.position.step += 1
        if not math.isfinite(loss):
            return
        bona_fide, copied, spliced = batch.targets == 1, batch.kinds == COPIED, batch.kinds == SPLICED
        windows = len(batch.targets)
        counts = [mask.sum().item() for mask in (bona_fide, copied, spliced, spliced & bona_fide)]
        added = (loss * windows, windows, *counts)
        self.sums = [total + more for total, more in zip(self.sums, added, strict=True)]

    def finish_epoch(self, stage: Stage, optimiser: torch.optim.Optimizer) -> None:
        """Score dev, keep what is best so far, write the epoch's record and the state."""
        if not self.sums[1]:
            raise TrainingError(
                f"stage {stage.name!r}: no step of epoch {self.position.epoch + 1} had a finite loss, all were "
                f"skipped; lower the learning rate or rho (the last state is in {STATE_NAME})"
            )
        own = self.divisions[self.position.stage].dev
        result = self.dev_set.result(self.detector, own, stage.dev_loss(self.detector))
        improved = []
        for name, module in stage.selected_modules(self.detector).items():
            eer, loss = result.eer, result.loss
            if name in result.expert_eers and stage.trains == "experts":
                eer, loss = result.expert_eers[name], result.expert_losses[name]
            best = self.bests[name]
            if stage.training.average_best and eer <= best.eer:
                best.average(module)
            if best.improve(eer, loss, self.position.epoch, module, stage.training.choose):
                improved.append(name)
        record = {
            "stage": stage.name,
            "epoch": self.position.epoch + 1,
            "train_loss": self.sums[0] / self.sums[1],
            "dev_loss": result.loss,
            "dev_eer": result.eer,
            "dev_expert_eer": result.expert_eers,
            "improved": improved,
        }
        if self.recipe.synthesis:
            record["drawn"] = self._drawn()
        self.sums = [0.0] * SUMS
        if self.tracker is not None:
            self.tracker.write(self.position.step, record)
            experts = ", ".join(f"{name} {100 * eer:.2f}" for name, eer in result.expert_eers.items())
            self.say(
                f"{stage.name} {record['epoch']}/{stage.training.epochs}: loss {record['train_loss']:.4f}, "
                f"dev loss {result.loss:.4f}, dev EER {100 * result.eer:.2f} % ({experts})"
                + (f", best: {', '.join(improved)}" if improved else "")
            )
        self.position.epoch, self.position.batch = self.position.epoch + 1, 0
        self.save(optimiser)

    def _drawn(self) -> dict[str, int]:
        """What the epoch's windows were, over all processes: their labels are those that the loss saw."""
        totals = self.processes.total(torch.tensor(self.sums[1:], device=self.device)).tolist()
        windows, bona_fide, copies, splices, cuts = (round(total) for total in totals)
        return {
            "bonafide": bona_fide,
            "spoof": windows - bona_fide,
            "copies": copies,
            "splices": splices,
            "bonafide_parts_of_splices": cuts,
        }

    def load_best(self, stage: Stage) -> None:
        """Give the detector the weights that the stage chose: of its best epoch, or the mean of its best ones."""
        for name, module in stage.selected_modules(self.detector).items():
            weights = self.bests[name].mean or self.bests[name].weights
            if weights:
                module.load_state_dict(with_current_keys(weights, module))

    def finish_stage(self) -> None:
        """Stand at the beginning of the next stage."""
        self.position = Position(stage=self.position.stage + 1, step=self.position.step)
        self.bests, self.optimiser_state = {}, None
        self.save(None)


__all__ = ["Position", "TrainingRun"]
