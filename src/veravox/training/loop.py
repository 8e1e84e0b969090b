"""The training loop: experts first, then jointly with the gate; chosen on dev, never on eval."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from veravox import __version__
from veravox.audio import window_policy
from veravox.augment import build_chain, build_synthesis
from veravox.batches.training import COPIED, SPLICED, Batch
from veravox.errors import EvaluationError, TrainingError
from veravox.files import write_json, write_text
from veravox.models.checkpoint import CHECKPOINT_NAME, Checkpoint, write_checkpoint
from veravox.models.detector import DetectorModel
from veravox.models.mixture import MIN_NORM_WINDOWS
from veravox.models.renamed_keys import with_current_keys
from veravox.scoring.calibrate import calibrated_on_dev, training_limits
from veravox.scoring.detector import scores_from_verdicts
from veravox.scoring.verdict import VerdictRule
from veravox.tables import Protocol
from veravox.training.choosing import Best, Development
from veravox.training.division import divide
from veravox.training.feature_cache import FeatureCache
from veravox.training.parts import parameter_groups
from veravox.training.ranks import Ranks
from veravox.training.recipe import Recipe, Stage, Training
from veravox.training.state import (
    STATE_NAME,
    random_state,
    read_state,
    restore_random_state,
    seed_random,
    write_state,
)
from veravox.training.steps import Steps
from veravox.training.track import Progress, Tracker, no_progress
from veravox.training.trials import protocol_hash, refuse_eval

SUMS = 6
"""Of an epoch: loss, windows; of these bona fide ones, copies, splices, splices cut where they are bona fide."""

OPTIMISERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


class Run:
    """One training run in one folder.

    Args:
        recipe: what to do.
        train, dev: trials with audio and labels; never eval trials.
        out: folder of the run.
        device: where to compute.
        workers: processes that load and augment.
        resume: go on from the folder's state.
        ranks: this process among those that train together.
        progress: shows steps.
        say: takes one line of text a time.
        features: folder of cached features; `features` in `out` if None.
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
        ranks: Ranks,
        progress: Progress,
        say: Callable[[str], None],
        features: Path | None = None,
    ) -> None:
        refuse_eval(train, dev)
        build_chain(recipe.augmentation)  # a missing folder or package is an error before anything is written
        build_synthesis(recipe.synthesis, recipe.splice_probability)
        self.recipe, self.train, self.dev, self.out = recipe, train, dev, out
        self.device, self.workers, self.ranks = device, workers, ranks
        self.progress, self.say = progress, say
        self.divisions = [
            divide(stage, recipe.stage_training(index), list(recipe.detector.experts), train, dev, recipe.seed)
            for index, stage in enumerate(recipe.stages)
        ]
        self.policy = window_policy(recipe.policy, recipe.detector.window_s, recipe.hop_s)
        self.development = Development(dev, self.policy, progress)
        self.stopping = False
        self.position = {"stage": 0, "epoch": 0, "batch": 0, "step": 0}
        self.sums: list[float] = [0.0] * SUMS
        torch.manual_seed(recipe.seed)
        self.detector = DetectorModel(recipe.detector).to(device)
        if any(recipe.stage_training(index).cache_copies for index in range(len(recipe.stages))):
            self.cache = FeatureCache(self.detector, features or self.out / "features")
            self.development.use(self.cache, workers)
        for index, stage in enumerate(recipe.stages):
            self._check_stage(stage, recipe.stage_training(index))
        seed_random(recipe.seed + 7919 * ranks.rank)
        state = self._saved(resume)
        self.bests: dict[str, Best] = {}
        self.optimiser_state: Any = None
        if state is not None:
            self._restore(state)
        self.tracker = Tracker(out, state["lines"] if state else 0) if ranks.leads else None
        if self.tracker is not None and self.tracker.missing:
            say(self.tracker.missing)

    def _check_stage(self, stage: Stage, training: Training) -> None:
        """What would end the run at the stage's beginning, perhaps hours later, ends it now."""
        parameter_groups(self.detector, stage, training)
        if training.batch_size < MIN_NORM_WINDOWS * self.ranks.count:
            raise TrainingError(
                f"stage {stage.name!r}: batch_size {training.batch_size} leaves {self.ranks.count} processes "
                f"fewer than {MIN_NORM_WINDOWS} windows each, which batch norms need; raise it"
            )

    def _saved(self, resume: bool) -> dict[str, Any] | None:
        path = self.out / STATE_NAME
        if not resume:
            metrics = self.out / "metrics.jsonl"
            if path.exists():
                raise TrainingError(
                    f"{str(self.out)!r} already holds a run; add --resume, or choose another folder"
                )
            if metrics.exists() and metrics.stat().st_size:  # empty, it is of a run that failed in its first epoch
                raise TrainingError(
                    f"{str(self.out)!r} already holds a run's metrics, but no {STATE_NAME} to go on from; "
                    "choose another folder, or remove this one"
                )
            if (self.out / CHECKPOINT_NAME).exists():
                raise TrainingError(f"{str(self.out)!r} already holds a detector; choose another folder")
            if self.ranks.leads:
                self.out.mkdir(parents=True, exist_ok=True)
                write_text(self.out / "recipe.yaml", self.recipe.to_yaml())
            self.ranks.barrier()
            return None
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
        self.position, sums = dict(state["position"]), list(state["sums"])
        self.sums = sums + [0.0] * (SUMS - len(sums))
        self.detector.load_state_dict(with_current_keys(state["weights"], self.detector))
        self.bests = {name: Best(**best) for name, best in state["bests"].items()}
        self.optimiser_state = state["optimiser"]
        restore_random_state(state["random"][self.ranks.rank], self.device)

    def save(self, optimiser: torch.optim.Optimizer | None) -> None:
        """Write the state from which `resume` goes on exactly."""
        random: Any = [random_state(self.device)]
        if self.ranks.count > 1:
            random = [None] * self.ranks.count
            torch.distributed.all_gather_object(random, random_state(self.device))
        if not self.ranks.leads or self.tracker is None:
            return
        state = {
            "recipe": self.recipe.to_yaml(),
            "data": self._data_hashes(),
            "position": self.position,
            "sums": self.sums,
            "lines": self.tracker.lines,
            "weights": self.detector.state_dict(),
            "bests": {name: best.to_state() for name, best in self.bests.items()},
            "optimiser": optimiser.state_dict() if optimiser is not None else None,
            "random": random,
        }
        write_state(self.out / STATE_NAME, state)

    def count(self, loss: float, batch: Batch) -> None:
        """Add a step to the sums of the epoch; one that was skipped, its loss not finite, taught nothing."""
        if not math.isfinite(loss):
            return
        bona_fide, copied, spliced = batch.targets == 1, batch.kinds == COPIED, batch.kinds == SPLICED
        windows = len(batch.targets)
        counts = [one.sum().item() for one in (bona_fide, copied, spliced, spliced & bona_fide)]
        self.sums = [each + more for each, more in zip(self.sums, (loss * windows, windows, *counts), strict=True)]

    def _drawn(self) -> dict[str, int]:
        """What the epoch's windows were, over all processes: their labels are those that the loss saw."""
        totals = self.ranks.total(torch.tensor(self.sums[1:], device=self.device)).tolist()
        windows, bona_fide, copies, splices, cuts = (round(total) for total in totals)
        return {
            "bonafide": bona_fide,
            "spoof": windows - bona_fide,
            "copies": copies,
            "splices": splices,
            "bonafide_parts_of_splices": cuts,
        }

    def stages(self) -> bool:
        """Do all stages that are not done; False if stopped by a signal, with the state saved."""
        while self.position["stage"] < len(self.recipe.stages):
            stage = self.recipe.stages[self.position["stage"]]
            if not self._stage(stage, self.recipe.stage_training(self.position["stage"])):
                return False
            self.position |= {"stage": self.position["stage"] + 1, "epoch": 0, "batch": 0}
            self.bests, self.optimiser_state = {}, None
            self.save(None)
        return True

    def _parts(self, stage: Stage) -> dict[str, nn.Module]:
        """The modules whose best weights are kept, by name."""
        if stage.trains == "experts":
            return dict(self.detector.mixture.experts.items())
        return {"mixture": self.detector}

    def _stage(self, stage: Stage, training: Training) -> bool:
        groups = parameter_groups(self.detector, stage, training)
        optimiser = OPTIMISERS[training.optimiser](
            [{"params": params, "lr": rate} for params, rate in groups.values()],
            weight_decay=training.weight_decay,
        )
        if self.optimiser_state is not None:
            optimiser.load_state_dict(self.optimiser_state)
            self.optimiser_state = None
        self.bests = self.bests or {name: Best() for name in self._parts(stage)}
        steps = Steps(self, stage, training, optimiser, groups)
        try:
            while self.position["epoch"] < training.epochs:
                if self._patience_is_over(training):
                    break
                if not steps.epoch():
                    self.save(optimiser)
                    return False
                self._choose(stage, training)
                self.position |= {"epoch": self.position["epoch"] + 1, "batch": 0}
                self.save(optimiser)
        finally:
            steps.objective.close()
        for name, module in self._parts(stage).items():
            if self.bests[name].weights:
                module.load_state_dict(with_current_keys(self.bests[name].weights, module))
        return True

    def _patience_is_over(self, training: Training) -> bool:
        latest = max(best.epoch for best in self.bests.values())
        return self.position["epoch"] - 1 - latest >= training.patience

    def _choose(self, stage: Stage, training: Training) -> None:
        """Score dev, keep what is best so far, write the epoch's record."""
        if not self.sums[1]:
            raise TrainingError(
                f"stage {stage.name!r}: no step of epoch {self.position['epoch'] + 1} had a finite loss, all were "
                f"skipped; lower the learning rate or rho (the last state is in {STATE_NAME})"
            )
        result = self.development.result(self.detector, self.divisions[self.position["stage"]].dev)
        improved = []
        for name, module in self._parts(stage).items():
            alone = stage.trains == "experts"
            eer = result.expert_eers[name] if alone else result.eer
            loss = result.expert_losses[name] if alone else result.loss
            last = training.choose == "last"
            if self.bests[name].improve(eer, loss, self.position["epoch"], module, always=last):
                improved.append(name)
        record = {
            "stage": stage.name,
            "epoch": self.position["epoch"] + 1,
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
            self.tracker.write(self.position["step"], record)
            experts = ", ".join(f"{name} {100 * eer:.2f}" for name, eer in result.expert_eers.items())
            self.say(
                f"{stage.name} {record['epoch']}/{training.epochs}: loss {record['train_loss']:.4f}, "
                f"dev loss {result.loss:.4f}, dev EER {100 * result.eer:.2f} % ({experts})"
                + (f", best: {', '.join(improved)}" if improved else "")
            )


@contextmanager
def _stop_on_signals(run: Run) -> Iterator[None]:
    """Interrupt and terminate end the run after the current step, with its state saved."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        run.stopping = True

    before = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def fit(
    recipe: Recipe,
    train: Protocol,
    dev: Protocol,
    out: str | Path,
    device: str = "auto",
    workers: int = 2,
    resume: bool = False,
    ranks: Ranks | None = None,
    progress: Progress = no_progress,
    say: Callable[[str], None] = print,
    features: Path | None = None,
) -> Checkpoint:
    """Train a recipe: weights from train, every choice on dev. Eval trials are refused.

    Writes to `out`: `detector.safetensors`, `metrics.jsonl`, TensorBoard events, `dev_scores.csv`,
    `recipe.yaml`, and while it runs `state.safetensors`, from which `resume` goes on exactly. An interrupt
    ends the run after the current step with its state saved.

    Returns:
        The checkpoint, calibrated on dev; uncalibrated (and said so) if it is no better than chance there.
    Raises:
        TrainingError: for eval trials, trials in both protocols, a run folder in use, or a loss that diverges.
    """
    chosen = torch.device(device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu")
    folder = Path(out)
    run = Run(recipe, train, dev, folder, chosen, workers, resume, ranks or Ranks(), progress, say, features)
    try:
        with _stop_on_signals(run):
            finished = run.stages()
    finally:
        if run.tracker is not None:
            run.tracker.close()
    if not finished:
        raise TrainingError(f"stopped at step {run.position['step']}; go on with --resume")
    if recipe.half:
        for name, parameter in run.detector.named_parameters():
            if name in run.detector.trainable:
                parameter.data = parameter.data.half().float()
    result = run.development.result(run.detector)
    provenance = {
        "veravox": __version__,
        "recipe": recipe.to_dict(),
        "data": {
            "train": {"trials": len(train), "sha256": protocol_hash(train)},
            "dev": {"trials": len(dev), "sha256": protocol_hash(dev)},
        },
        "metrics": {"dev_eer": result.eer, "dev_expert_eer": result.expert_eers},
        "steps": run.position["step"],
    }
    last = recipe.first_epoch(len(recipe.stages)) - 1
    limits = training_limits(train, recipe.augmentation, recipe.seed, epoch=last)
    try:
        checkpoint = calibrated_on_dev(run.detector, dev, run.policy, result.predictions, limits, provenance)
    except EvaluationError as error:
        say(f"the detector stays uncalibrated: {error}")
        checkpoint = Checkpoint(run.detector.eval(), None, limits, provenance)
    if run.ranks.leads:
        write_checkpoint(checkpoint, folder)
        judging = VerdictRule(checkpoint, run.policy)
        found = [
            judging.verdict(trial, *names)
            for trial, names in zip(result.predictions, zip(dev.utterance_ids, dev.frame["path"]), strict=True)
        ]
        scores_from_verdicts(found, run.detector.expert_names).write(folder / "dev_scores.csv")
        write_json(folder / "provenance.json", provenance)
    run.ranks.barrier()
    return checkpoint
