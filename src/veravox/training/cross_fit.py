"""Thresholds that keep their word: calibration on trials of sources that the scoring detector never met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from veravox.audio import WindowPolicy, find_speech, read_audio, window_policy
from veravox.audio.level import frame_powers
from veravox.errors import EvaluationError
from veravox.evaluation.calibration import fit_grown_calibration, folds_of
from veravox.models.checkpoint import Checkpoint, write_checkpoint
from veravox.models.detector import SAMPLE_RATE_HZ, DetectorModel
from veravox.scoring.detector import detector_policy
from veravox.scoring.prediction import SPEECH_FRAME, speech_shares
from veravox.tables import BONA_FIDE, Calibration, Protocol, Scores
from veravox.training.feature_cache import DevWindows, FeatureCache
from veravox.training.files import FileCheck, OnBadFile
from veravox.training.loop import fit
from veravox.training.recipe import Recipe
from veravox.training.selection import DevSet
from veravox.training.state import STATE_NAME
from veravox.training.track import Progress, no_progress


@dataclass(frozen=True)
class Promise:
    """What the thresholds are set to keep on trials of unseen sources.

    Args:
        max_bona_fide_called_spoof: share of bona fide trials.
        max_spoof_called_bona_fide: share of spoofed trials.
    """

    max_bona_fide_called_spoof: float = 0.03
    max_spoof_called_bona_fide: float = 0.05


UNFAMILIAR_SHARE = 0.02
"""Of the trials of unseen sources, those that are called unfamiliar."""


def fit_crossed(
    recipe: Recipe,
    train: Protocol,
    dev: Protocol,
    out: str | Path,
    folds: int = 5,
    group: str = "source",
    promise: Promise = Promise(),
    workers: int = 2,
    resume: bool = False,
    progress: Progress = no_progress,
    say: Callable[[str], None] = print,
    features: Path | None = None,
    on_bad_file: OnBadFile = "stop",
    **options: Any,
) -> Checkpoint:
    """Train a recipe on all of train, and once without each fold of its sources; calibrate on what was left out.

    Each trial of train is scored by the detector that met none of its fold's sources; dev by the whole one. These
    scores fit the calibration, its growth with speech, and the thresholds, and limit the strangeness of a detector
    that measures familiarity. Runs go to `out`, `out/without-1`, ...; finished ones are left as they are under
    `resume`. Writes `left_out_scores.csv` beside the detector.

    Args:
        recipe, train, dev, out, workers, resume, progress, say, features, on_bad_file, options: as for `fit`.
        folds: of sources.
        group: column whose values stay together in one fold.
        promise: what the thresholds keep.
    Raises:
        TrainingError: as `fit`; also for too few sources.
    """
    train.require(group)
    folder = Path(out)
    check = FileCheck(workers, progress, say, options.get("processes"))
    (train, _), (dev, _) = (check.usable(protocol, on_bad_file) for protocol in (train, dev))
    sources = train.frame[group].cast(pl.String).fill_null("").to_list()
    fold = folds_of(_real(train), folds, sources, recipe.seed)
    shared: dict[str, Any] = {
        "workers": workers,
        "progress": progress,
        "say": say,
        "features": features or folder / "features",
        "check": check,
        **options,
    }

    def run(trials: Protocol, place: Path) -> Checkpoint:
        found = fit(recipe, trials, dev, place, resume=resume and (place / STATE_NAME).exists(), **shared)
        fit_familiarity(found.model, trials, shared["features"], workers, progress, recipe.seed)
        return found

    whole = run(train, folder)
    policy = detector_policy(whole, recipe.policy, recipe.hop_s)
    logits, strangeness = np.empty(len(train)), np.empty(len(train))
    for index in range(folds):
        inside = pl.Series(fold == index)
        rest = Protocol(train.frame.filter(~inside), name=train.name, root=train.root)
        left_out = Protocol(train.frame.filter(inside), name=train.name, root=train.root)
        say(f"without fold {index + 1} of {folds}: {len(rest)} of {len(train)} trials")
        part = run(rest, folder / f"without-{index + 1}")
        own = fold == index
        logits[own], strangeness[own] = _scores(part.model, left_out, policy, recipe, shared)
    trials = pl.concat([train.frame, dev.frame], how="diagonal_relaxed")
    everything = Protocol(trials, name="the left-out data")
    dev_logits, dev_strangeness = _scores(whole.model, dev, policy, recipe, shared)
    logits, strangeness = np.append(logits, dev_logits), np.append(strangeness, dev_strangeness)
    calibration: Calibration | None
    try:
        calibration = fit_grown_calibration(
            logits,
            _real(everything),
            [speech_seconds(path) for path in (*train.audio_paths(), *dev.audio_paths())],
            _voices(trials, group),
            policy=str(policy),
            fitted_on=f"{len(train)} train trials by folds of {group} and {len(dev)} dev trials",
            max_bona_fide_below=promise.max_bona_fide_called_spoof,
            max_spoof_above=promise.max_spoof_called_bona_fide,
            seed=recipe.seed,
        )
    except EvaluationError as error:
        say(f"the detector stays uncalibrated: {error}")
        calibration = None
    limits = dict(whole.limits)
    if whole.model.familiarity is not None:
        limits["max_strangeness"] = float(np.quantile(strangeness, 1.0 - UNFAMILIAR_SHARE))
    found = Checkpoint(whole.model.eval(), calibration, limits, whole.provenance)
    write_checkpoint(found, folder)
    scores = trials.select("utterance_id").with_columns(pl.Series("score", logits))
    Scores(scores, name="left-out scores").write(folder / "left_out_scores.csv")
    return found


def speech_seconds(path: str) -> float:
    """Seconds of a recording that are loud enough for speech, by its own active level."""
    waveform = read_audio(path, SAMPLE_RATE_HZ)
    speech = np.concatenate(list(find_speech(waveform, SAMPLE_RATE_HZ).keep([waveform])))
    return float(speech_shares([frame_powers(speech, SPEECH_FRAME)])[0]) * len(speech) / SAMPLE_RATE_HZ


def _real(protocol: Protocol) -> np.ndarray:
    return np.array([label == BONA_FIDE for label in protocol.frame["label"]])


def fit_familiarity(
    model: DetectorModel, train: Protocol, features: Path, workers: int, progress: Progress, seed: int
) -> None:
    """Show a detector what its training contained: the first window of each trial, as recorded.

    Does nothing for a detector that does not measure familiarity.
    """
    if model.familiarity is None:
        return
    windows = DevWindows(train.audio_paths(), window_policy("first", model.spec.window_s))
    rows = FeatureCache(model, features).rows(windows.keys(), windows, workers, progress, "features of train")
    model.familiarity.fit(model.unflattened(rows)[str(model.spec.familiarity)].flatten(1), seed)


def _scores(
    detector: DetectorModel, protocol: Protocol, policy: WindowPolicy, recipe: Recipe, shared: dict[str, Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Logit and strangeness of each trial, both (N,)."""
    dev_set = DevSet(protocol, policy, shared["progress"])
    if recipe.caches_features:
        dev_set.use(FeatureCache(detector, shared["features"]), shared["workers"])
    predictions = dev_set.predictions(detector)
    logits, strangeness = ([getattr(p, name) for p in predictions] for name in ("logit", "mean_strangeness"))
    return np.array(logits), np.array(strangeness)


def _voices(trials: pl.DataFrame, group: str) -> list[str]:
    """Source, system and speaker of each trial, whose pieces may be joined."""
    columns = [name for name in (group, "label", "attack_id", "speaker_id") if name in trials.columns]
    return ["|".join(str(value) for value in row) for row in trials.select(columns).iter_rows()]
