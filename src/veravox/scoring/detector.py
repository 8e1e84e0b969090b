"""The public functions: load a detector, score a protocol, score a waveform."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import IO, Any, Literal, get_args

import numpy as np
import polars as pl
import torch

from veravox.audio import WindowPolicy, resample, window_policy
from veravox.batches import Trial, channels_differ, protocol_trials
from veravox.errors import AudioError, CheckpointError, ConfigurationError, ScoringError, first_few, suggest
from veravox.models.checkpoint import CHECKPOINT_NAME, Checkpoint, read_checkpoint
from veravox.models.detector import SAMPLE_RATE_HZ, DetectorModel
from veravox.scoring.prediction import Prediction, predict
from veravox.scoring.verdict import Verdict, VerdictRule, by_channel
from veravox.tables import (
    EXPERT_PREFIX,
    FAILURE_SCHEMA,
    GATE_PREFIX,
    SCORE_FIELDS,
    WINDOW_SCHEMA,
    Calibration,
    Protocol,
    Scores,
)

MAX_AMPLITUDE = 1e4
DEFAULT_DETECTOR = "veravox-base"
BLOCK_TRIALS = 256
Channels = Literal["auto", "mix", "each"]
PolicyName = Literal["sliding", "first", "middle"]


def bundled_detectors() -> dict[str, Path]:
    """Names and files of the detectors that come with the package."""
    folder = resources.files("veravox") / "bundled"
    if not folder.is_dir():
        return {}
    found = {
        item.name.removesuffix(".safetensors"): item
        for item in folder.iterdir()
        if item.name.endswith(".safetensors")
    }
    return {name: Path(str(found[name])) for name in sorted(found)}


def resolve_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA if there is one, else the CPU.

    Raises:
        ConfigurationError: for an unknown or absent device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f"device {name!r} cannot be used ({reason}); try 'cpu' or 'auto'") from error
    return device


@dataclass(repr=False)
class Detector(Checkpoint):
    """A network with its calibration, limits and provenance, ready to score."""

    def __repr__(self) -> str:
        experts = ", ".join(self.model.expert_names)
        state = "calibrated" if self.calibration else "uncalibrated"
        return f"Detector({self.source!r}, {state}, windows of {self.model.spec.window_s:g} s, experts: {experts})"

    def score(
        self,
        protocol: Protocol,
        policy: PolicyName = "sliding",
        workers: int = 2,
        batch_size: int = 16,
        hop_s: float | None = None,
        on_error: Literal["raise", "collect"] = "raise",
        windows: bool = False,
        prior: float | None = None,
        channels: Channels = "auto",
    ) -> Scores:
        """Score every trial of a protocol. See `veravox.score`."""
        return score(
            self, protocol, policy, workers, batch_size, hop_s, on_error, windows, prior=prior, channels=channels
        )

    def score_waveform(
        self,
        waveform: np.ndarray | bytes | IO[bytes],
        sample_rate_hz: int | None = None,
        policy: PolicyName = "sliding",
        hop_s: float | None = None,
        prior: float | None = None,
    ) -> Verdict:
        """The verdict on a waveform in memory. See `veravox.score_waveform`."""
        return score_waveform(self, waveform, sample_rate_hz, policy, hop_s, prior=prior)

    def report(
        self,
        path: str | os.PathLike[str],
        out: str | os.PathLike[str],
        policy: PolicyName = "sliding",
        hop_s: float | None = None,
        prior: float | None = None,
    ) -> dict[str, Any]:
        """Score one file; write `report.html` and `report.json` into the folder `out`, and return the JSON."""
        from veravox.scoring.recording_page import report

        return report(self, path, out, policy, hop_s, prior)


def list_models() -> list[str]:
    """Names of the bundled detectors, for `load_detector`."""
    return list(bundled_detectors())


def load_detector(source: str | Path | None = None, device: str = "auto") -> Detector:
    """A detector with its calibration, ready to score.

    Args:
        source: name of a bundled detector (None: the default one), a checkpoint file or folder, or the id of
            a hub repository (`owner/name`) that holds `detector.safetensors`.
        device: `auto`, `cpu`, `cuda`, `cuda:1`, ...
    Raises:
        CheckpointError: if there is no such detector, or its checkpoint is damaged.
        ConfigurationError: if the device cannot be used.
    """
    chosen = resolve_device(device)
    bundled = bundled_detectors()
    name = str(source or DEFAULT_DETECTOR)
    if name in bundled:
        checkpoint = read_checkpoint(bundled[name])
        checkpoint.source = name
    elif Path(name).exists():
        checkpoint = read_checkpoint(name)
    elif name.count("/") == 1 and not name.startswith((".", "/")) and not name.endswith(".safetensors"):
        checkpoint = read_checkpoint(_from_hub(name))
        checkpoint.source = name
    else:
        raise CheckpointError(f"no detector {name!r}: neither bundled, nor a path; {suggest(name, bundled)}")
    checkpoint.model.to(chosen).eval()
    return Detector(**vars(checkpoint))


def _from_hub(repository: str) -> str:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()  # its retries are no news; the error below is
    try:
        return hf_hub_download(repository, CHECKPOINT_NAME)
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(
            f"{CHECKPOINT_NAME} of {repository!r} cannot be fetched from the hub: {reason}"
        ) from error


def as_checkpoint(detector: Checkpoint | DetectorModel) -> Checkpoint:
    """A checkpoint as it is; a bare detector as one without calibration."""
    return detector if isinstance(detector, Checkpoint) else Checkpoint(detector)


def detector_policy(checkpoint: Checkpoint, policy: str, hop_s: float | None = None) -> WindowPolicy:
    """The window policy of that name with the detector's window length.

    Raises:
        ConfigurationError: for an unknown policy, or `random`, which is for training.
    """
    if policy == "random":
        raise ConfigurationError("the window policy 'random' is for training; score with sliding, first or middle")
    return window_policy(policy, checkpoint.model.spec.window_s, hop_s)


def verdicts(
    checkpoint: Checkpoint,
    protocol: Protocol,
    policy: WindowPolicy,
    workers: int = 2,
    batch_size: int = 16,
    calibration: Calibration | None = None,
    prior: float | None = None,
    measure: bool = True,
    first_trial: int = 0,
    channels: Channels = "auto",
) -> Iterator[Verdict]:
    """Verdicts on trials in order, from `first_trial` (a block border) on; errors are verdicts too."""
    assert first_trial % BLOCK_TRIALS == 0
    trials = protocol_trials(protocol)[first_trial:]
    ids, shown = protocol.utterance_ids[first_trial:], protocol.frame["path"].to_list()[first_trial:]
    rule = VerdictRule(checkpoint, policy, calibration, prior)
    for trial in predict(checkpoint.model, trials, policy, workers, batch_size, measure, BLOCK_TRIALS):
        verdict = rule.verdict(trial, ids[trial.index], shown[trial.index])
        if channels != "mix" and trial.channels > 1 and verdict.error is None:
            verdict = _by_channel(
                rule, checkpoint.model, trials[trial.index], trial, verdict, channels, batch_size
            )
        yield verdict


def _by_channel(
    rule: VerdictRule,
    model: DetectorModel,
    trial: Trial,
    prediction: Prediction,
    verdict: Verdict,
    channels: Channels,
    batch_size: int,
) -> Verdict:
    """The verdict with those of the channels, one by one, where they are asked for or hold different sounds."""
    if channels == "auto" and not channels_differ(trial, prediction.channels):
        return verdict
    sides = [replace(trial, channel=channel) for channel in range(prediction.channels)]
    predictions = predict(model, sides, rule.policy, 0, batch_size, measure=True)
    return by_channel(verdict, [rule.verdict(side, verdict.utterance_id, verdict.path) for side in predictions])


def scores_from_verdicts(
    verdicts: Sequence[Verdict], experts: Sequence[str], with_windows: bool = False
) -> Scores:
    """The table of verdicts."""
    good = [verdict for verdict in verdicts if verdict.error is None]
    schema = SCORE_FIELDS | {
        prefix + name: pl.Float64 for prefix in (GATE_PREFIX, EXPERT_PREFIX) for name in experts
    }
    rows = [verdict.to_row() for verdict in good]
    frame = pl.DataFrame([[row[name] for name in schema] for row in rows], schema=schema, orient="row")
    failures = [(v.utterance_id, v.path, v.error) for v in verdicts if v.error is not None]
    windows = None
    if with_windows:
        pieces = [(v.utterance_id, *window) for v in good for window in v.windows]
        windows = pl.DataFrame(pieces, schema=WINDOW_SCHEMA, orient="row")
    return Scores(frame, pl.DataFrame(failures, schema=FAILURE_SCHEMA, orient="row"), windows)


def join_scores(parts: Sequence[Scores], name: str = "scores") -> Scores:
    """Tables of scores one below the other, with their failures and windows.

    Raises:
        ScoringError: for a trial that is scored twice, or scored in one part and failed in another.
    """
    failures = pl.concat([part.failures for part in parts])
    windows = [part.windows for part in parts if part.windows is not None]
    whole = Scores(
        pl.concat([part.frame for part in parts], how="diagonal_relaxed"),
        failures,
        pl.concat(windows) if windows else None,
        name,
    )
    doubled = failures["utterance_id"].filter(failures["utterance_id"].is_duplicated()).unique(maintain_order=True)
    if len(doubled):
        raise ScoringError(f"{len(doubled)} trials failed in more than one part, first {first_few(doubled)}")
    both = whole.frame.join(failures, on="utterance_id", how="semi")["utterance_id"]
    if len(both):
        raise ScoringError(
            f"{len(both)} trials are scored in one part and failed in another, first {first_few(both)}"
        )
    return whole


def score(
    detector: Checkpoint | DetectorModel,
    protocol: Protocol,
    policy: PolicyName = "sliding",
    workers: int = 2,
    batch_size: int = 16,
    hop_s: float | None = None,
    on_error: Literal["raise", "collect"] = "raise",
    windows: bool = False,
    calibration: Calibration | None = None,
    prior: float | None = None,
    on_trial: Callable[[Verdict], object] | None = None,
    channels: Channels = "auto",
) -> Scores:
    """Score every trial of a protocol.

    Args:
        detector: from `load_detector`; a bare `DetectorModel` gives raw logits.
        protocol: trials with a `path`; `start_s` and `end_s`, where given, score a part of it.
        policy: how an utterance becomes windows; its logit is the mean of theirs.
        workers: number of decoding threads.
        batch_size: windows per batch.
        hop_s: seconds between sliding windows; a whole window if None.
        on_error: `raise` at the first file that cannot be read, or `collect` it in `failures`.
        windows: keep each window's score.
        calibration: in place of the detector's own.
        prior: prior probability of spoof for `p_spoof`; the calibration's if None.
        on_trial: called with each verdict as it comes.
        channels: `auto` scores channels that hold different sounds one by one, beside the mix of all; `each` does
            so always, `mix` never. A recording whose channels disagree is not bona fide.
    Returns:
        Scores in the protocol's order, with `failures` (and `windows`) beside.
    Raises:
        AudioError: with `on_error="raise"`, for a file that cannot be read.
        ScoringError: for a logit that is not finite, or another `on_error`.
    """
    if on_error not in ("raise", "collect"):
        raise ScoringError(f"on_error must be 'raise' or 'collect', not {on_error!r}")
    if channels not in get_args(Channels):
        raise ScoringError(f"channels must be auto, mix or each, not {channels!r}")
    checkpoint = as_checkpoint(detector)
    chosen = detector_policy(checkpoint, policy, hop_s)
    found = []
    for verdict in verdicts(
        checkpoint, protocol, chosen, workers, batch_size, calibration, prior, channels=channels
    ):
        if verdict.error is not None and on_error == "raise":
            raise AudioError(verdict.error)
        found.append(verdict)
        if on_trial is not None:
            on_trial(verdict)
    return scores_from_verdicts(found, checkpoint.model.expert_names, windows)


def score_waveform(
    detector: Checkpoint | DetectorModel,
    waveform: np.ndarray | bytes | IO[bytes],
    sample_rate_hz: int | None = None,
    policy: PolicyName = "sliding",
    hop_s: float | None = None,
    batch_size: int = 16,
    prior: float | None = None,
) -> Verdict:
    """The verdict on a waveform in memory.

    Args:
        detector: from `load_detector`.
        waveform: mono, shape (samples,), floating point in [-1, 1], an array or a tensor; or a whole recording as
            bytes or binary file object.
        sample_rate_hz: rate of an array, which is resampled to 16 kHz; a recording states its own.
        policy, hop_s, batch_size, prior: as for `score`.
    Raises:
        AudioError: for another shape, integers, no samples, or samples not finite or far beyond full scale.
        ScoringError: if the detector is in training mode.
    """
    checkpoint = as_checkpoint(detector)
    source: np.ndarray | bytes
    if isinstance(waveform, bytes) or hasattr(waveform, "read"):
        source = waveform if isinstance(waveform, bytes) else waveform.read()
    else:
        source = _checked(waveform, sample_rate_hz)
    chosen = detector_policy(checkpoint, policy, hop_s)
    trial = next(predict(checkpoint.model, [Trial(source)], chosen, 0, batch_size, measure=True))
    if trial.error is not None:
        raise trial.error
    return VerdictRule(checkpoint, chosen, prior=prior).verdict(trial, "waveform", "waveform")


def _checked(waveform: Any, sample_rate_hz: int | None) -> np.ndarray:
    """A waveform as scoring takes it, at its rate."""
    samples = waveform.detach().cpu().numpy() if isinstance(waveform, torch.Tensor) else np.asarray(waveform)
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(
            f"a waveform must be a 1-D array of floats in [-1, 1]; got shape {samples.shape}, {samples.dtype}; "
            "average channels and divide integers by their full scale first"
        )
    if not len(samples):
        raise AudioError("the waveform has no samples")
    broken = np.flatnonzero(~(np.abs(samples) <= MAX_AMPLITUDE))
    if len(broken):
        raise AudioError(
            f"the waveform has {len(broken)} samples that are not finite or over {MAX_AMPLITUDE:g} times "
            f"full scale, the first is number {broken[0]}; scale it to [-1, 1]"
        )
    if not isinstance(sample_rate_hz, int | float | np.number) or not 0 < sample_rate_hz < math.inf:
        raise AudioError(f"sample_rate_hz must be a positive number, not {sample_rate_hz!r}")
    resampled = resample(samples.astype(np.float32), int(sample_rate_hz), SAMPLE_RATE_HZ)
    if not len(resampled):
        raise AudioError(f"the waveform is too short to hold one sample at {SAMPLE_RATE_HZ} Hz")
    return resampled
