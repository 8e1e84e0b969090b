"""The public functions: load a detector, score a protocol, score a waveform."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import torch

from veravox.audio import QualityMeter, WindowPolicy, resample, window_policy
from veravox.audio.level import frame_powers
from veravox.errors import AudioError, CheckpointError, ConfigurationError, ScoringError, first_few, suggest
from veravox.models.checkpoint import CHECKPOINT_NAME, Checkpoint, read_checkpoint
from veravox.models.detector import SAMPLE_RATE_HZ, DetectorModel
from veravox.scoring.prediction import SPEECH_FRAME, Prediction, predict, speech_shares
from veravox.scoring.verdict import Verdict, VerdictRule
from veravox.tables import EXPERT_PREFIX, FAILURE_SCHEMA, GATE_PREFIX, WINDOW_SCHEMA, Calibration, Protocol, Scores

DEFAULT_DETECTOR = "veravox-base"
BLOCK_TRIALS = 256


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


def load_detector(source: str | Path | None = None, device: str = "auto") -> Checkpoint:
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
    return checkpoint


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
) -> Iterator[Verdict]:
    """Verdicts on trials in order, from `first_trial` (a block border) on; errors are verdicts too."""
    assert first_trial % BLOCK_TRIALS == 0
    protocol.require("path")
    ids, shown = protocol.utterance_ids[first_trial:], protocol.frame["path"].to_list()[first_trial:]
    rule = VerdictRule(checkpoint, policy, calibration, prior)
    paths = protocol.audio_paths()[first_trial:]
    for trial in predict(checkpoint.model, paths, policy, workers, batch_size, measure, BLOCK_TRIALS):
        yield rule.verdict(trial, ids[trial.index], shown[trial.index])


def scores_from_verdicts(found: Sequence[Verdict], experts: Sequence[str], with_windows: bool = False) -> Scores:
    """The table of verdicts."""
    good = [verdict for verdict in found if verdict.error is None]
    columns: dict[str, Any] = {
        "utterance_id": pl.Series([v.utterance_id for v in good], dtype=pl.String),
        "path": pl.Series([v.path for v in good], dtype=pl.String),
        "score": pl.Series([v.score for v in good], dtype=pl.Float64),
        "verdict": pl.Series([v.verdict for v in good], dtype=pl.String),
        "p_spoof": pl.Series([v.p_spoof for v in good], dtype=pl.Float64),
        "prior": pl.Series([v.prior for v in good], dtype=pl.Float64),
        "duration_s": pl.Series([v.duration_s for v in good], dtype=pl.Float64),
        "windows": pl.Series([len(v.windows) for v in good], dtype=pl.Int64),
        "worst_start_s": pl.Series(
            [v.most_spoof_like[0] if v.most_spoof_like else None for v in good], dtype=pl.Float64
        ),
        "worst_end_s": pl.Series(
            [v.most_spoof_like[1] if v.most_spoof_like else None for v in good], dtype=pl.Float64
        ),
        "worst_score": pl.Series(
            [v.most_spoof_like[2] if v.most_spoof_like else None for v in good], dtype=pl.Float64
        ),
        "warnings": pl.Series(["; ".join(c.message for c in v.warnings) or None for v in good], dtype=pl.String),
    }
    for name in experts:
        columns[GATE_PREFIX + name] = pl.Series([v.gate_weights[name] for v in good], dtype=pl.Float64)
    for name in experts:
        columns[EXPERT_PREFIX + name] = pl.Series([v.expert_scores[name] for v in good], dtype=pl.Float64)
    failures = [(v.utterance_id, v.path, v.error) for v in found if v.error is not None]
    windows = None
    if with_windows:
        rows = [(v.utterance_id, *window) for v in good for window in v.windows]
        windows = pl.DataFrame(rows, schema=WINDOW_SCHEMA, orient="row")
    return Scores(pl.DataFrame(columns), pl.DataFrame(failures, schema=FAILURE_SCHEMA, orient="row"), windows)


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
    policy: Literal["sliding", "first", "middle"] = "sliding",
    workers: int = 2,
    batch_size: int = 16,
    hop_s: float | None = None,
    on_error: Literal["raise", "collect"] = "raise",
    windows: bool = False,
    calibration: Calibration | None = None,
    prior: float | None = None,
    on_trial: Callable[[Verdict], object] | None = None,
) -> Scores:
    """Score every trial of a protocol.

    Args:
        detector: from `load_detector`; a bare `DetectorModel` gives raw logits.
        protocol: with a `path` for every trial.
        policy: how an utterance becomes windows; its logit is the mean of theirs.
        workers: threads that decode while the model runs.
        batch_size: windows at a time.
        hop_s: of the sliding policy; whole windows if None.
        on_error: `raise` at the first file that cannot be heard, or `collect` it in `failures`.
        windows: keep each window's score.
        calibration: in place of the detector's own.
        prior: of spoof, for `p_spoof`.
        on_trial: called with each verdict as it comes.
    Returns:
        Scores in the protocol's order, with `failures` (and `windows`) beside.
    Raises:
        AudioError: with `on_error="raise"`, for a file that cannot be heard.
        ScoringError: for a logit that is not finite, or another `on_error`.
    """
    if on_error not in ("raise", "collect"):
        raise ScoringError(f"on_error must be 'raise' or 'collect', not {on_error!r}")
    checkpoint = as_checkpoint(detector)
    chosen = detector_policy(checkpoint, policy, hop_s)
    found = []
    for verdict in verdicts(checkpoint, protocol, chosen, workers, batch_size, calibration, prior):
        if verdict.error is not None and on_error == "raise":
            raise AudioError(verdict.error)
        found.append(verdict)
        if on_trial is not None:
            on_trial(verdict)
    return scores_from_verdicts(found, checkpoint.model.expert_names, windows)


def score_waveform(
    detector: Checkpoint | DetectorModel,
    waveform: np.ndarray,
    sample_rate_hz: int,
    policy: Literal["sliding", "first", "middle"] = "sliding",
    hop_s: float | None = None,
    batch_size: int = 16,
    prior: float | None = None,
) -> Verdict:
    """The verdict on a waveform in memory.

    Args:
        detector: from `load_detector`.
        waveform: mono, shape (samples,), floating point in [-1, 1].
        sample_rate_hz: of the waveform; it is resampled to 16 kHz.
    Raises:
        AudioError: for another shape, integers, no samples, or samples that are not finite.
    """
    checkpoint = as_checkpoint(detector)
    samples = _checked(waveform, sample_rate_hz)
    chosen = detector_policy(checkpoint, policy, hop_s)
    meter = QualityMeter(SAMPLE_RATE_HZ)
    meter.update(samples)
    trial = Prediction(0, "waveform", chosen.starts(len(samples)), quality=meter.result())
    rows = []
    device = next(checkpoint.model.parameters()).device
    with torch.inference_mode():
        for part in torch.from_numpy(chosen.cut(samples)).split(batch_size):
            output = checkpoint.model(part.to(device))
            rows.append((output.logits, output.expert_logits, output.gate_weights))
    logits, experts, weights = (torch.cat(column).double().cpu().numpy() for column in zip(*rows, strict=True))
    if not np.isfinite(logits).all():
        raise ScoringError("the detector gives a logit that is not finite for this waveform")
    trial.logits, trial.expert_logits, trial.gate_weights = logits, experts, weights
    trial.speech_shares = speech_shares([frame_powers(window, SPEECH_FRAME) for window in chosen.cut(samples)])
    return VerdictRule(checkpoint, chosen, prior=prior).verdict(trial, "waveform", "waveform")


def _checked(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    samples = np.asarray(waveform)
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(
            f"a waveform must be a 1-D array of floats in [-1, 1]; got shape {samples.shape}, {samples.dtype}; "
            "average channels and divide integers by their full scale first"
        )
    if not len(samples):
        raise AudioError("the waveform has no samples")
    broken = np.flatnonzero(~np.isfinite(samples))
    if len(broken):
        raise AudioError(
            f"the waveform has {len(broken)} samples that are not finite, first at {first_few(broken, 1)}"
        )
    if sample_rate_hz <= 0:
        raise AudioError(f"sample_rate_hz must be positive, not {sample_rate_hz}")
    resampled = resample(samples.astype(np.float32), int(sample_rate_hz), SAMPLE_RATE_HZ)
    if not len(resampled):
        raise AudioError(f"the waveform is too short to hold one sample at {SAMPLE_RATE_HZ} Hz")
    return resampled
