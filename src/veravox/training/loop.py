"""The training loop: experts first, then jointly with the gate; chosen on dev, never on eval."""

from __future__ import annotations

import hashlib
import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from veravox import __version__
from veravox.audio import WindowPolicy, window_policy
from veravox.batches.training import STAGE_EPOCHS, EpochSampler, TrainingWindows, training_loader
from veravox.errors import EvaluationError, TrainingError, first_few
from veravox.evaluation import equal_error_rate
from veravox.files import write_json, write_text
from veravox.models.checkpoint import Checkpoint, write_checkpoint
from veravox.models.detector import SAMPLE_RATE_HZ, Detector
from veravox.scoring.api import scores_of
from veravox.scoring.calibrate import calibrated_on_dev, training_limits
from veravox.scoring.engine import Judged, judge
from veravox.scoring.verdict import Judge
from veravox.tables import BONA_FIDE, Protocol
from veravox.training.division import divide
from veravox.training.losses import smoothed_cross_entropy
from veravox.training.objective import Objective
from veravox.training.parts import Groups, frozen_children, hold_frozen_parts, parameter_groups
from veravox.training.ranks import Ranks
from veravox.training.recipe import Recipe, Stage, Training
from veravox.training.sharpness_aware import SharpnessAware
from veravox.training.state import random_state, read_state, restore_random_state, write_state
from veravox.training.track import Tracker

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]

STATE_NAME = "state.safetensors"
OPTIMISERS = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}


@contextmanager
def no_progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar that shows nothing."""
    yield lambda steps: None


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


@dataclass
class _Best:
    """The best weights of one part so far, by dev EER, then by dev loss."""

    eer: float = math.inf
    loss: float = math.inf
    epoch: int = -1
    weights: dict[str, Tensor] = field(default_factory=dict)

    def improve(self, eer: float, loss: float, epoch: int, module: nn.Module) -> bool:
        if (eer, loss) >= (self.eer, self.loss):
            return False
        self.eer, self.loss, self.epoch = eer, loss, epoch
        self.weights = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
        return True

    def to_state(self) -> dict[str, Any]:
        return {"eer": self.eer, "loss": self.loss, "epoch": self.epoch, "weights": self.weights}


@dataclass
class DevResult:
    """What the detector reaches on dev: rates and losses of the mixture and of each expert."""

    eer: float
    loss: float
    expert_eers: dict[str, float]
    expert_losses: dict[str, float]
    judged: list[Judged]


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
    ) -> None:
        refuse_eval(train, dev)
        self.recipe, self.train, self.dev, self.out = recipe, train, dev, out
        self.device, self.workers, self.ranks = device, workers, ranks
        self.progress, self.say = progress, say
        self.divisions = [
            divide(stage, recipe.stage_training(index), list(recipe.detector.experts), train, dev, recipe.seed)
            for index, stage in enumerate(recipe.stages)
        ]
        self.dev_labels = np.array([label == BONA_FIDE for label in dev.frame["label"]])
        self.stopping = False
        self.position = {"stage": 0, "epoch": 0, "batch": 0, "step": 0}
        self.sums: list[float] = [0.0, 0.0]
        torch.manual_seed(recipe.seed)
        self.detector = Detector(recipe.detector).to(device)
        for index, stage in enumerate(recipe.stages):
            frozen_children(self.detector, stage, recipe.stage_training(index))
        torch.manual_seed(recipe.seed + 7919 * ranks.rank)
        state = self._saved(resume)
        self.bests: dict[str, _Best] = {}
        self.optimiser_state: Any = None
        if state is not None:
            self._restore(state)
        self.tracker = Tracker(out, state["lines"] if state else 0) if ranks.leads else None
        if self.tracker is not None and self.tracker.missing:
            say(self.tracker.missing)

    def _saved(self, resume: bool) -> dict[str, Any] | None:
        path = self.out / STATE_NAME
        if not resume:
            if path.exists() or (self.out / "metrics.jsonl").exists():
                raise TrainingError(
                    f"{str(self.out)!r} already holds a run; add --resume, or choose another folder"
                )
            if self.ranks.leads:
                self.out.mkdir(parents=True, exist_ok=True)
                write_text(self.out / "recipe.yaml", self.recipe.to_yaml())
            self.ranks.barrier()
            return None
        state = read_state(path)
        if state["recipe"] != self.recipe.to_yaml() or state["data"] != self._data_hashes():
            raise TrainingError(
                f"{str(path)!r} belongs to another recipe or other data; resume with the same ones"
            )
        return state

    def _data_hashes(self) -> dict[str, str]:
        return {"train": protocol_hash(self.train), "dev": protocol_hash(self.dev)}

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.position, self.sums = dict(state["position"]), list(state["sums"])
        self.detector.load_state_dict(state["weights"])
        self.bests = {name: _Best(**best) for name, best in state["bests"].items()}
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
        self.bests = self.bests or {name: _Best() for name in self._parts(stage)}
        step = _Step(self, stage, training, optimiser, groups)
        try:
            while self.position["epoch"] < training.epochs:
                if self._patience_is_over(training):
                    break
                if not step.epoch():
                    self.save(optimiser)
                    return False
                self._choose(stage, training)
                self.position |= {"epoch": self.position["epoch"] + 1, "batch": 0}
                self.save(optimiser)
        finally:
            step.objective.close()
        for name, module in self._parts(stage).items():
            if self.bests[name].weights:
                module.load_state_dict(self.bests[name].weights)
        return True

    def _patience_is_over(self, training: Training) -> bool:
        latest = max(best.epoch for best in self.bests.values())
        return self.position["epoch"] - 1 - latest >= training.patience

    def _choose(self, stage: Stage, training: Training) -> None:
        """Score dev, keep what is best so far, write the epoch's record."""
        result = self.dev_result(self.divisions[self.position["stage"]].dev)
        improved = []
        for name, module in self._parts(stage).items():
            alone = stage.trains == "experts"
            eer = result.expert_eers[name] if alone else result.eer
            loss = result.expert_losses[name] if alone else result.loss
            if self.bests[name].improve(eer, loss, self.position["epoch"], module):
                improved.append(name)
        record = {
            "stage": stage.name,
            "epoch": self.position["epoch"] + 1,
            "train_loss": self.sums[0] / max(self.sums[1], 1),
            "dev_loss": result.loss,
            "dev_eer": result.eer,
            "dev_expert_eer": result.expert_eers,
            "improved": improved,
        }
        self.sums = [0.0, 0.0]
        if self.tracker is not None:
            self.tracker.write(self.position["step"], record)
            experts = ", ".join(f"{name} {100 * eer:.2f}" for name, eer in result.expert_eers.items())
            self.say(
                f"{stage.name} {record['epoch']}/{training.epochs}: loss {record['train_loss']:.4f}, "
                f"dev loss {result.loss:.4f}, dev EER {100 * result.eer:.2f} % ({experts})"
                + (f", best: {', '.join(improved)}" if improved else "")
            )

    def policy(self) -> WindowPolicy:
        """The window policy of dev scores and calibration."""
        return window_policy(self.recipe.policy, self.recipe.detector.window_s, self.recipe.hop_s)

    def dev_result(self, own: Mapping[str, np.ndarray] | None = None) -> DevResult:
        """Score dev with the weights as they are. Every process scores all of it, so that all choose alike.

        Args:
            own: the dev trials (boolean) of each expert's own figures; all where none are given.
        """
        self.detector.eval()
        with self.progress("dev", len(self.dev)) as advance:
            judged = []
            for trial in judge(self.detector, self.dev.audio_paths(), self.policy(), workers=1, batch_size=32):
                if trial.error is not None:
                    raise TrainingError(f"dev: {trial.error}")
                judged.append(trial)
                advance(1)
        self.detector.train()
        logits = np.array([trial.logit for trial in judged])
        experts = np.nan_to_num(np.stack([trial.mean_expert_logits for trial in judged]))  # never run: no opinion
        all_of_it = np.ones(len(logits), dtype=bool)
        eers, losses = {}, {}
        for index, name in enumerate(self.detector.expert_names):
            chosen = (own or {}).get(name, all_of_it)
            eers[name] = self._eer(experts[chosen, index], self.dev_labels[chosen])
            losses[name] = self._loss(experts[chosen, index], self.dev_labels[chosen])
        labels = self.dev_labels
        return DevResult(self._eer(logits, labels), self._loss(logits, labels), eers, losses, judged)

    def _eer(self, logits: np.ndarray, labels: np.ndarray) -> float:
        return equal_error_rate(logits[labels], logits[~labels])

    def _loss(self, logits: np.ndarray, labels: np.ndarray) -> float:
        targets = torch.from_numpy(labels.astype(np.float32))
        return float(smoothed_cross_entropy(torch.from_numpy(logits), targets))


class _Step:
    """The optimisation steps of one stage."""

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
        policy = WindowPolicy("random", window, window, SAMPLE_RATE_HZ)
        division = run.divisions[run.position["stage"]]
        dataset = TrainingWindows(division.train, policy, run.recipe.augmentation, run.recipe.seed)
        draws = training.draws or len(division.train)
        self.sampler = EpochSampler(
            division.train,
            division.balance,
            draws,
            training.batch_size,
            run.recipe.seed,
            run.ranks.rank,
            run.ranks.count,
        )
        self.loader = training_loader(dataset, self.sampler, run.workers)
        self.sharp = SharpnessAware(**training.sharpness) if training.sharpness is not None else None
        self.objective = Objective(run.detector, stage, training, division, run.ranks, run.device)
        self.first_epoch = run.recipe.stages.index(stage) * STAGE_EPOCHS

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
            for windows, targets, trials in self.loader:
                loss = self._one(windows, targets, trials)
                run.sums = [run.sums[0] + loss * len(targets), run.sums[1] + len(targets)]
                position["batch"] += 1
                position["step"] += 1
                advance(1)
                if run.ranks.agree(run.stopping):
                    return False
        return True

    def _one(self, windows: Tensor, targets: Tensor, trials: Tensor) -> float:
        self._schedule()
        if self.sharp is not None:
            loss = self.sharp.step(
                self.optimiser,
                lambda: self._loss(windows, targets, trials),
                model=self.run.detector,
                before_update=self._clip,
            )
            return float(loss)
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(windows, targets, trials)
        loss.backward()
        self._clip()
        self.optimiser.step()
        return float(loss.detach())

    def _loss(self, windows: Tensor, targets: Tensor, trials: Tensor) -> Tensor:
        loss = self.objective(windows, targets, trials)
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
        """Cosine from the learning rate to the smallest, over the stage's steps."""
        total = self.training.epochs * len(self.sampler)
        done = self.run.position["epoch"] * len(self.sampler) + self.run.position["batch"]
        share = 0.5 * (1.0 + math.cos(math.pi * done / max(total, 1)))
        for group, (_, rate) in zip(self.optimiser.param_groups, self.groups.values(), strict=True):
            floor = min(self.training.min_learning_rate, rate)
            group["lr"] = floor + (rate - floor) * share


def protocol_hash(protocol: Protocol) -> str:
    """SHA-256 over ids, labels and paths as written, so that provenance names its trials."""
    columns = [name for name in ("utterance_id", "label", "path") if name in protocol.frame.columns]
    return hashlib.sha256(protocol.frame.select(columns).write_csv().encode()).hexdigest()


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
    run = Run(recipe, train, dev, folder, chosen, workers, resume, ranks or Ranks(), progress, say)
    with _stop_on_signals(run):
        finished = run.stages()
    if run.tracker is not None:
        run.tracker.close()
    if not finished:
        raise TrainingError(f"stopped at step {run.position['step']}; go on with --resume")
    result = run.dev_result()
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
    limits = training_limits(train, recipe.augmentation, recipe.seed)
    try:
        checkpoint = calibrated_on_dev(run.detector, dev, run.policy(), result.judged, limits, provenance)
    except EvaluationError as error:
        say(f"the detector stays uncalibrated: {error}")
        checkpoint = Checkpoint(run.detector.eval(), None, limits, provenance)
    if run.ranks.leads:
        write_checkpoint(checkpoint, folder)
        judging = Judge(checkpoint, run.policy())
        found = [
            judging.verdict(trial, *names)
            for trial, names in zip(result.judged, zip(dev.utterance_ids, dev.frame["path"]), strict=True)
        ]
        scores_of(found, run.detector.expert_names).write(folder / "dev_scores.csv")
        write_json(folder / "provenance.json", provenance)
    run.ranks.barrier()
    return checkpoint
