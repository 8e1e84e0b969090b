"""The training loop, on one page: every stage from its batches to its best weights."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from veravox import __version__
from veravox.errors import EvaluationError, TrainingError
from veravox.files import write_json
from veravox.models.checkpoint import Checkpoint, write_checkpoint
from veravox.scoring.detector import resolve_device, scores_from_verdicts
from veravox.scoring.verdict import VerdictRule
from veravox.tables import Protocol
from veravox.training.calibrate import calibrated_on_dev, training_limits
from veravox.training.epochs import EpochBatches
from veravox.training.files import FileCheck, OnBadFile
from veravox.training.learner import Learner
from veravox.training.parts import Groups, clip_gradients, freeze_to_eval, parameter_groups
from veravox.training.processes import Processes
from veravox.training.recipe import Recipe
from veravox.training.run import Position, TrainingRun
from veravox.training.selection import DevResult
from veravox.training.settings import Training
from veravox.training.sharpness.step import SharpnessStep
from veravox.training.stages import Stage
from veravox.training.state import STATE_NAME
from veravox.training.track import Progress, no_progress
from veravox.training.trials import protocol_hash

OPTIMISERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "adam": torch.optim.Adam,
}


def fit(
    recipe: Recipe,
    train: Protocol,
    dev: Protocol,
    out: str | Path,
    device: str = "auto",
    workers: int = 2,
    resume: bool = False,
    processes: Processes | None = None,
    progress: Progress = no_progress,
    say: Callable[[str], None] = print,
    features: Path | None = None,
    on_bad_file: OnBadFile = "stop",
    check: FileCheck | None = None,
) -> Checkpoint:
    """Train a recipe: weights are fitted on train, every choice is made on dev. Eval trials are refused.

    Writes to `out`: `detector.safetensors`, `metrics.jsonl`, TensorBoard events, `dev_scores.csv`,
    `recipe.yaml`, and while it runs `state.safetensors`, from which `resume` goes on exactly. An interrupt
    ends the run after the current step with its state saved. Every file is read before the first step.

    Args:
        recipe: the experiment.
        train, dev: trials with audio and labels.
        out: folder of the run.
        device: name of the device, or `auto`.
        workers: processes that load and augment.
        resume: go on from the state in `out`; begin where there is none.
        processes: this process among those that train together.
        progress: shows steps.
        say: takes one line of text at a time.
        features: folder of cached features; `features` in `out` if None.
        on_bad_file: `stop` if a file cannot be read, or `skip` its trial, and count it.
        check: what earlier trainings of these files found.
    Returns:
        The checkpoint, calibrated on dev; uncalibrated (and said so) if it is no better than chance there.
    Raises:
        TrainingError: for eval trials, trials in both protocols, files that cannot be read, a run folder in use,
            or a loss that diverges.
    """
    run = TrainingRun(
        recipe,
        train,
        dev,
        Path(out),
        resolve_device(device),
        workers,
        resume,
        processes or Processes(),
        progress,
        say,
        features,
        on_bad_file,
        check,
    )
    try:
        with _stop_on_signals(run):
            while run.position.stage < len(recipe.stages):
                if not train_stage(run):
                    raise TrainingError(f"stopped at step {run.position.step}; go on with --resume")
    finally:
        if run.tracker is not None:
            run.tracker.close()
    return _finish(run)


def train_stage(run: TrainingRun) -> bool:
    """Train the stage at which a run stands, from where it stands; False if a signal stopped it."""
    stage = run.recipe.stages[run.position.stage]
    training, position, masks = stage.training, run.position, run.recipe.feature_masks()
    groups = parameter_groups(run.detector, stage)
    optimiser = OPTIMISERS[training.optimiser](
        [{"params": parameters, "lr": rate} for parameters, rate in groups.values()],
        weight_decay=training.weight_decay,
    )
    run.begin_stage(optimiser)
    batches = EpochBatches(run, stage)
    clip = partial(clip_gradients, groups, training.gradient_clip)
    with stage.learner(run.detector, batches.division, run.processes, run.device, masks) as learner:
        while position.epoch < training.epochs and not run.patience_is_over(stage):
            run.detector.train()
            freeze_to_eval(run.detector, stage)
            what = f"{stage.name} {position.epoch + 1}/{training.epochs}"
            with run.progress(what, len(batches)) as advance:
                advance(position.batch)
                for batch in batches.rest_of(position.epoch, position.batch):
                    set_learning_rates(optimiser, groups, training, position, len(batches))
                    loss_of_batch = partial(stage.loss, learner, batch)
                    if training.sharpness is None:
                        optimiser.zero_grad(set_to_none=True)
                        loss = loss_of_batch()
                        _require_finite(loss, position)
                        loss.backward()
                        clip()
                        optimiser.step()
                    else:
                        loss = SharpnessStep(
                            training.sharpness, optimiser, loss_of_batch, model=run.detector, before_update=clip
                        ).run()
                    run.count_step(float(loss.detach()), batch)
                    advance(1)
                    if run.must_stop(optimiser):
                        return False
            run.finish_epoch(stage, optimiser)
        run.load_best(stage)
        if training.average_best:
            gather_statistics(run, stage, learner, batches)
    run.finish_stage()
    return True


def gather_statistics(run: TrainingRun, stage: Stage, learner: Learner, batches: EpochBatches) -> None:
    """Give batch norms the statistics that averaged weights have over one more epoch of batches."""
    run.detector.train()
    freeze_to_eval(run.detector, stage)
    norms = [one for one in run.detector.modules() if isinstance(one, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        if norm.training:
            norm.reset_running_stats()
            norm.momentum = None  # a mean over all batches
    with torch.no_grad():
        for batch in batches.rest_of(stage.training.epochs):
            stage.loss(learner, batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def set_learning_rates(
    optimiser: torch.optim.Optimizer, groups: Groups, training: Training, position: Position, steps: int
) -> None:
    """Give each part's group of the optimiser its rate at a position; an epoch has so many `steps`."""
    for group, (_, rate) in zip(optimiser.param_groups, groups.values(), strict=True):
        group["lr"] = rate_at(training, rate, position, steps)


def rate_at(training: Training, rate: float, position: Position, steps: int) -> float:
    """The learning rate at a position: a cosine over the stage's steps, or halved every so many epochs.

    Args:
        training: of the stage.
        rate: where the schedule starts.
        position: of the step.
        steps: in an epoch.
    """
    if training.halving_epochs is not None:
        return rate * 0.5 ** (position.epoch // training.halving_epochs)
    done = position.epoch * steps + position.batch
    share = 0.5 * (1.0 + math.cos(math.pi * done / max(training.epochs * steps, 1)))
    lowest = min(training.min_learning_rate, rate)
    return lowest + (rate - lowest) * share


def _require_finite(loss: Tensor, position: Position) -> None:
    if not torch.isfinite(loss):
        raise TrainingError(
            f"the loss is not finite at step {position.step}; lower the learning rate "
            f"or set training.precision=float32 (the last state is in {STATE_NAME})"
        )


@contextmanager
def _stop_on_signals(run: TrainingRun) -> Iterator[None]:
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


def _finish(run: TrainingRun) -> Checkpoint:
    """Calibrate what was trained and write the detector, its dev scores and its provenance."""
    recipe = run.recipe
    if recipe.half:
        for name, parameter in run.detector.named_parameters():
            if name in run.detector.trainable:
                parameter.data = parameter.data.half().float()
    result = run.dev_set.result(run.detector)
    checkpoint = _calibrated(run, result, _provenance(run, result))
    if run.processes.is_main:
        write_checkpoint(checkpoint, run.out)
        rule, dev = VerdictRule(checkpoint, run.policy), run.dev
        verdicts = [
            rule.verdict(trial, *names)
            for trial, names in zip(result.predictions, zip(dev.utterance_ids, dev.frame["path"]), strict=True)
        ]
        scores_from_verdicts(verdicts, run.detector.expert_names).write(run.out / "dev_scores.csv")
        write_json(run.out / "provenance.json", checkpoint.provenance)
    run.processes.barrier()
    return checkpoint


def _provenance(run: TrainingRun, result: DevResult) -> dict[str, Any]:
    data = {
        part: {"trials": len(protocol), "sha256": protocol_hash(protocol)}
        for part, protocol in (("train", run.train), ("dev", run.dev))
    }
    return {
        "veravox": __version__,
        "recipe": run.recipe.to_dict(),
        "data": data,
        "skipped": [asdict(bad) for bad in run.skipped],
        "metrics": {"dev_eer": result.eer, "dev_expert_eer": result.expert_eers},
        "steps": run.position.step,
    }


def _calibrated(run: TrainingRun, result: DevResult, provenance: dict[str, Any]) -> Checkpoint:
    recipe = run.recipe
    last = recipe.first_epoch(len(recipe.stages)) - 1
    limits = training_limits(run.train, recipe.augmentation, recipe.seed, epoch=last)
    try:
        return calibrated_on_dev(run.detector, run.dev, run.policy, result.predictions, limits, provenance)
    except EvaluationError as error:
        run.say(f"the detector stays uncalibrated: {error}")
        return Checkpoint(run.detector.eval(), None, limits, provenance)


__all__ = ["OPTIMISERS", "fit", "gather_statistics", "rate_at", "set_learning_rates", "train_stage"]
