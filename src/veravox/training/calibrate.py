"""A detector's calibration and limits: fitted on dev, measured on training audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from veravox.audio import QualityMeter, WindowPolicy, read_audio
from veravox.batches import build_chain
from veravox.evaluation import fit_calibration
from veravox.models.checkpoint import Checkpoint
from veravox.models.detector import SAMPLE_RATE_HZ, DetectorModel
from veravox.scoring.prediction import Prediction
from veravox.tables import BONA_FIDE, Protocol

LIMIT_TRIALS, LIMIT_PERCENT = 600, 1.0


def calibrated_on_dev(
    detector: DetectorModel,
    dev: Protocol,
    policy: WindowPolicy,
    predictions: Sequence[Prediction],
    limits: Mapping[str, float],
    provenance: Mapping[str, Any],
) -> Checkpoint:
    """A checkpoint whose calibration and thresholds are fitted on dev utterances under a window policy.

    Raises:
        EvaluationError: if no calibration fits, because bona fide does not score higher than spoof.
    """
    logits = np.array([trial.logit for trial in predictions])
    labels = np.array([label == BONA_FIDE for label in dev.frame["label"]])
    fitted_on = f"{len(dev)} dev utterances ({int(labels.sum())} bona fide)"
    calibration = fit_calibration(logits, labels, prior=0.5, policy=str(policy), fitted_on=fitted_on)
    return Checkpoint(detector.eval(), calibration, dict(limits), dict(provenance))


def training_limits(
    train: Protocol,
    augmentation: Sequence[Mapping[str, Any]],
    seed: int,
    trials: int = LIMIT_TRIALS,
    epoch: int = 0,
) -> dict[str, float]:
    """Limits of the training audio: the 1st or 99th percentile over augmented training trials.

    `epoch` is the epoch of the augmentation's curricula, the last one for what training ended with.
    """
    rng = np.random.default_rng((seed, 0x11317))
    paths = train.audio_paths()
    drawn = rng.permutation(len(paths))[:trials]
    chain = build_chain(augmentation).at_epoch(epoch)
    measured = []
    for position, index in enumerate(drawn):
        waveform = read_audio(paths[index], SAMPLE_RATE_HZ)
        noise = np.random.default_rng((seed, 0x11317, position))
        meter = QualityMeter(SAMPLE_RATE_HZ)
        meter.update(chain(waveform, SAMPLE_RATE_HZ, noise))
        measured.append(meter.result())
    low, high = LIMIT_PERCENT, 100 - LIMIT_PERCENT
    return {
        "min_bandwidth_hz": float(np.percentile([quality.bandwidth_hz for quality in measured], low)),
        "min_snr_db": float(np.percentile([q.snr_db for q in measured if q.snr_db is not None], low)),
        "max_clipped_share": max(
            0.001, float(np.percentile([quality.clipped_share for quality in measured], high))
        ),
        "max_dc_offset": max(0.02, float(np.percentile([abs(quality.dc_offset) for quality in measured], high))),
    }
