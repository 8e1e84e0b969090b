"""From logits to a verdict: calibrated score, thresholds, warnings about the recording."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from veravox.audio import Quality, WindowPolicy
from veravox.errors import ScoringError
from veravox.models.checkpoint import Checkpoint
from veravox.scoring.prediction import Prediction
from veravox.tables import EXPERT_PREFIX, GATE_PREFIX, JSON_SCHEMA, Calibration, channels_text, nested, table_text

SCHEMA = JSON_SCHEMA
MIN_SPEECH_S = 0.5
WORST_SPAN_S = 10.0
UNCALIBRATED = "uncalibrated"


@dataclass(frozen=True)
class QualityWarning:
    """Something about a recording that the reader of its score must know.

    Attributes:
        test: its name.
        message: one sentence.
        makes_uncertain: whether no verdict but `uncertain` may be given.
    """

    test: str
    message: str
    makes_uncertain: bool


@dataclass(frozen=True)
class Verdict:
    """The result for one recording.

    Attributes:
        utterance_id, path: of the trial.
        score: log-likelihood ratio (natural log), higher is more bona fide; a raw logit if uncalibrated;
            None if the recording could not be read.
        verdict: `bonafide`, `spoof`, `uncertain`, `uncalibrated`; None with an error.
        p_spoof: posterior probability under `prior`; None if uncalibrated.
        prior: of spoof, behind `p_spoof`.
        duration_s: of the recording.
        speech_s: seconds of speech-like signal in it (see `audio.Quality`).
        speech_share: the same as a fraction of `duration_s`.
        windows: (start_s, end_s, score) of each window.
        gate_weights: mean weight of each expert.
        expert_scores: mean score of each expert, on the scale of `score`; None for one that was never run.
        most_spoof_like: (start_s, end_s, score) of the most spoof-like 10 s; None for one no longer than that.
        warnings: about quality, length, policy.
        quality: what was measured.
        error: why there is no score.
        channels: (number from 1, score, verdict) of each channel, where they were scored one by one.
    """

    utterance_id: str
    path: str
    score: float | None = None
    verdict: str | None = None
    p_spoof: float | None = None
    prior: float | None = None
    duration_s: float | None = None
    windows: list[tuple[float, float, float]] = field(default_factory=list)
    gate_weights: dict[str, float] = field(default_factory=dict)
    expert_scores: dict[str, float | None] = field(default_factory=dict)
    most_spoof_like: tuple[float, float, float] | None = None
    warnings: list[QualityWarning] = field(default_factory=list)
    quality: Quality | None = None
    error: str | None = None
    speech_s: float | None = None
    speech_share: float | None = None
    channels: list[tuple[int, float, str]] = field(default_factory=list)

    def to_row(self) -> dict[str, Any]:
        """As a row of a score table: `tables.SCORE_FIELDS`, then weights and scores of the experts."""
        start_s, end_s, score = self.most_spoof_like or (None, None, None)
        return {
            "utterance_id": self.utterance_id,
            "path": table_text(self.path),
            "score": self.score,
            "verdict": self.verdict,
            "p_spoof": self.p_spoof,
            "prior": self.prior,
            "duration_s": self.duration_s,
            "speech_s": self.speech_s,
            "speech_share": self.speech_share,
            "channels": channels_text(self.channels),
            "windows": len(self.windows),
            "worst_start_s": start_s,
            "worst_end_s": end_s,
            "worst_score": score,
            "warnings": "; ".join(warning.message for warning in self.warnings) or None,
            **{GATE_PREFIX + name: weight for name, weight in self.gate_weights.items()},
            **{EXPERT_PREFIX + name: score for name, score in self.expert_scores.items()},
        }

    def to_dict(self, with_windows: bool = False) -> dict[str, Any]:
        """As plain data, the JSON form that `schema` numbers: the row, with its groups of columns nested."""
        data = nested(self.to_row()) | {
            "gate_weights": self.gate_weights,
            "expert_scores": self.expert_scores,
            "channels": [list(channel) for channel in self.channels],
            "warnings": [warning.message for warning in self.warnings],
            "error": self.error,
        }
        if with_windows:
            data["window_scores"] = [list(window) for window in self.windows]
        return data


def most_spoof_like_span(
    logits: np.ndarray, starts: list[int], policy: WindowPolicy, weights: np.ndarray | None = None
) -> tuple[int, int] | None:
    """First and last window of the run that spans 10 s and has the lowest mean; None if there is no choice.

    With `weights`, shares of speech, the mean is weighted, and runs without speech do not count.
    """
    rate, window = policy.sample_rate_hz, policy.window_samples
    span = WORST_SPAN_S * rate
    if len(starts) < 2 or starts[-1] + window <= span:
        return None
    count = 1
    while count < len(starts) and starts[count - 1] + window < span:
        count += 1
    shares = np.ones(len(logits)) if weights is None or not weights.sum() else weights
    sums, totals = (np.concatenate([[0.0], np.cumsum(part)]) for part in (logits * shares, shares))
    totals = totals[count:] - totals[:-count]
    spoken = totals > 1e-9
    means = np.where(spoken, (sums[count:] - sums[:-count]) / np.where(spoken, totals, 1.0), np.inf)
    first = int(np.argmin(means))
    return first, first + count - 1


def quality_warnings(quality: Quality | None, limits: Mapping[str, float]) -> list[QualityWarning]:
    """What about a recording is outside what the detector was trained on.

    Limits that a checkpoint may carry: `min_bandwidth_hz`, `min_snr_db`, `max_clipped_share`, `max_dc_offset`.
    """
    if quality is None:
        return []
    found = []

    def warning(test: str, message: str) -> None:
        found.append(QualityWarning(test, message, makes_uncertain=True))

    if quality.silence_share >= 0.999:
        warning("silence", "the recording is digital silence")
    elif quality.speech_s < MIN_SPEECH_S:
        warning("length", f"only {quality.speech_s:.2f} s of speech-like signal; {MIN_SPEECH_S:g} s are needed")
    if quality.bandwidth_hz < limits.get("min_bandwidth_hz", -math.inf):
        warning(
            "bandwidth",
            f"effective bandwidth {quality.bandwidth_hz:.0f} Hz is below the {limits['min_bandwidth_hz']:.0f} Hz "
            "of the training audio",
        )
    if quality.snr_db is not None and quality.snr_db < limits.get("min_snr_db", -math.inf):
        warning(
            "noise",
            f"signal-to-noise ratio {quality.snr_db:.0f} dB is below the {limits['min_snr_db']:.0f} dB "
            "of the training audio",
        )
    if quality.clipped_share > limits.get("max_clipped_share", math.inf):
        warning("clipping", f"{100 * quality.clipped_share:.1f} % of the samples are clipped")
    if abs(quality.dc_offset) > limits.get("max_dc_offset", math.inf):
        warning("dc", f"DC offset of {quality.dc_offset:.2f} of full scale")
    return found


class VerdictRule:
    """Turns predictions into verdicts, by a checkpoint's calibration and limits.

    Args:
        checkpoint: the detector and what is known of it.
        policy: how recordings become windows.
        calibration: in place of the checkpoint's own.
        prior: of spoof, for `p_spoof`; the calibration's if None.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        policy: WindowPolicy,
        calibration: Calibration | None = None,
        prior: float | None = None,
    ) -> None:
        if prior is not None and not 0 < prior < 1:
            raise ScoringError(f"the prior of spoof must lie between 0 and 1; got {prior}")
        self.calibration = calibration or checkpoint.calibration
        self.limits, self.policy, self.prior = checkpoint.limits, policy, prior
        self.experts = checkpoint.model.expert_names

    @property
    def policy_warning(self) -> str | None:
        """What to say if scores are made under another window policy than the calibration's."""
        if self.calibration is None or self.calibration.policy in ("", str(self.policy)):
            return None
        return (
            f"the calibration was fitted under the window policy {self.calibration.policy!r}, "
            f"these scores are made under {str(self.policy)!r}"
        )

    def verdict(self, trial: Prediction, utterance_id: str, path: str) -> Verdict:
        """The verdict on one trial."""
        if trial.error is not None:
            return Verdict(utterance_id, path, error=str(trial.error))
        speech_s = self._speech_s(trial)
        score = self._scaled(trial.logit, speech_s)
        warnings = quality_warnings(trial.quality, self.limits)
        if trial.mean_strangeness > self.limits.get("max_strangeness", math.inf):
            warnings.append(_unfamiliar(trial.mean_strangeness, self.limits["max_strangeness"]))
        most_spoof_like = self._most_spoof_like(trial)
        weights = trial.window_weights @ trial.gate_weights
        experts = [None if math.isnan(value) else float(value) for value in trial.mean_expert_logits]
        verdict, p_spoof, prior = UNCALIBRATED, None, None
        if self.calibration is not None:
            prior = self.calibration.prior if self.prior is None else self.prior
            p_spoof = self.calibration.p_spoof(score, prior)
            verdict = self.calibration.verdict(score)
            if (
                most_spoof_like is not None
                and verdict != "spoof"
                and self.calibration.verdict(most_spoof_like[2]) == "spoof"
            ):
                warnings.append(_spoof_like_part(most_spoof_like))
            if any(warning.makes_uncertain for warning in warnings):
                verdict = "uncertain"
        return Verdict(
            utterance_id,
            path,
            score,
            verdict,
            p_spoof,
            prior,
            trial.quality.duration_s if trial.quality else None,
            self._windows(trial),
            {name: float(value) for name, value in zip(self.experts, weights, strict=True)},
            {
                name: None if value is None else self._scaled(value, speech_s)
                for name, value in zip(self.experts, experts, strict=True)
            },
            most_spoof_like,
            warnings,
            trial.quality,
            speech_s=trial.quality.speech_s if trial.quality else None,
            speech_share=trial.quality.speech_s / trial.quality.duration_s if trial.quality else None,
        )

    def _scaled(self, logit: float, speech_s: float) -> float:
        return logit if self.calibration is None else self.calibration.apply(logit, speech_s)

    def _speech_s(self, trial: Prediction, first: int = 0, last: int | None = None) -> float:
        """Seconds of speech in a run of windows, in all of them by default."""
        positions = self._positions(trial)
        end = positions[-1 if last is None else last] + self.policy.window_samples
        if trial.kept_samples:
            end = min(end, trial.kept_samples)
        shares = trial.speech_shares[first : None if last is None else last + 1]
        seconds = (end - positions[first]) / self.policy.sample_rate_hz
        return seconds * (float(shares.mean()) if len(shares) else 1.0)

    def _positions(self, trial: Prediction) -> list[int]:
        """First sample of each window among the kept ones."""
        return self.policy.starts(trial.kept_samples) if trial.kept_samples else trial.starts

    def _span_s(self, trial: Prediction, first: int, last: int) -> tuple[float, float]:
        """Where a run of windows begins and ends in the trial."""
        rate = self.policy.sample_rate_hz
        end = trial.ends[last] if trial.ends else trial.starts[last] + self.policy.window_samples
        duration_s = trial.quality.duration_s if trial.quality else math.inf
        return trial.starts[first] / rate, min(end / rate, duration_s)

    def _windows(self, trial: Prediction) -> list[tuple[float, float, float]]:
        return [
            (*self._span_s(trial, index, index), self._scaled(float(logit), self._speech_s(trial, index, index)))
            for index, logit in enumerate(trial.logits)
        ]

    def _most_spoof_like(self, trial: Prediction) -> tuple[float, float, float] | None:
        span = most_spoof_like_span(trial.logits, self._positions(trial), self.policy, trial.window_weights)
        if span is None:
            return None
        first, last = span
        shares = trial.window_weights[first : last + 1]
        shares = shares if shares.sum() > 0 else np.ones_like(shares)
        mean = float(trial.logits[first : last + 1] @ shares / shares.sum())
        return (*self._span_s(trial, first, last), self._scaled(mean, self._speech_s(trial, first, last)))


def _unfamiliar(strangeness: float, limit: float) -> QualityWarning:
    return QualityWarning(
        "unfamiliar",
        f"unlike the training audio (strangeness {strangeness:.2f}, limit {limit:.2f}); "
        "how often the detector errs on such a recording is unknown",
        makes_uncertain=True,
    )


def _spoof_like_part(most_spoof_like: tuple[float, float, float]) -> QualityWarning:
    start_s, end_s, score = most_spoof_like
    return QualityWarning(
        "part",
        f"spoof in part: {start_s:.1f} to {end_s:.1f} s alone would be judged spoof (score {score:.2f}); "
        "listen there",
        makes_uncertain=True,
    )


def by_channel(whole: Verdict, sides: Sequence[Verdict]) -> Verdict:
    """The verdict on a recording whose channels were scored one by one.

    It is bona fide as a whole only if every channel with speech is; where they disagree, a warning says which is
    which.
    """
    channels = [
        (number, side.score, side.verdict)
        for number, side in enumerate(sides, 1)
        if side.score is not None and side.verdict is not None and (side.speech_s or 0.0) >= MIN_SPEECH_S
    ]
    verdicts = {verdict for _, _, verdict in channels}
    verdict, warnings = whole.verdict, list(whole.warnings)
    if len(verdicts) > 1 or (verdict == "bonafide" and verdicts and verdicts != {"bonafide"}):
        told = ", ".join(f"channel {number} {verdict} ({score:+.2f})" for number, score, verdict in channels)
        warnings.append(QualityWarning("channels", f"the channels differ: {told}", makes_uncertain=True))
        verdict = "uncertain"
    return replace(whole, verdict=verdict, warnings=warnings, channels=channels)


def quality_dict(quality: Quality | None) -> dict[str, Any] | None:
    """Measured quality as plain data; values that are not finite become None."""
    if quality is None:
        return None
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(quality).items()
    }
