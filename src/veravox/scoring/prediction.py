"""The one path from files to logits: decode ahead, batch windows, run the detector, gather by trial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from veravox.audio import Quality, WindowPolicy
from veravox.audio.level import FRAME_MS, active_power, frame_powers
from veravox.batches import Trial, WindowChunk, prefetch
from veravox.errors import AudioError, ScoringError
from veravox.models.detector import SAMPLE_RATE_HZ, DetectorModel, DetectorOutput

SPEECH_FRAME = round(FRAME_MS * SAMPLE_RATE_HZ / 1000)


def speech_shares(powers: Sequence[np.ndarray]) -> np.ndarray:
    """How much of each window is loud enough for speech, by the recording's own active level, in [0, 1].

    Args:
        powers: of each window, the mean square of its frames.
    """
    if not powers:
        return np.zeros(0)
    _, threshold = active_power(np.concatenate(powers))
    return np.array([float((frames >= threshold).mean()) for frames in powers])


def output_rows(output: DetectorOutput) -> np.ndarray:
    """A network's output as one float64 row per window: logit, strangeness, experts' logits, gate weights."""
    logits = output.logits[:, None]
    strangeness = torch.full_like(logits, torch.nan) if output.strangeness is None else output.strangeness[:, None]
    columns = [logits, strangeness, output.expert_logits, output.gate_weights]
    return torch.cat([column.double() for column in columns], dim=1).cpu().numpy()


@dataclass
class Prediction:
    """What the network gives for one trial.

    Attributes:
        index: of the trial.
        path: what was read, in words.
        starts: first sample of each window, in the trial.
        logits: (windows,) float64.
        expert_logits, gate_weights: (windows, E) float64; NaN is the logit of an expert that was not run.
        strangeness: (windows,), distance of each window from what training contained; NaN where unknown.
        speech_shares: (windows,), how much of each window is speech, in [0, 1]; empty if nobody measured.
        quality: of the recording, where measured.
        error: why it could not be read; then the arrays are empty.
        ends: the sample behind each window's last, in the trial; empty where windows follow `starts` alone.
        channels: of the recording.
        kept_samples: of the trial, what windows were cut from: without the silence that is left out.
    """

    index: int
    path: str
    starts: list[int] = field(default_factory=list)
    logits: np.ndarray = field(default_factory=lambda: np.zeros(0))
    expert_logits: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    gate_weights: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    speech_shares: np.ndarray = field(default_factory=lambda: np.zeros(0))
    strangeness: np.ndarray = field(default_factory=lambda: np.zeros(0))
    quality: Quality | None = None
    error: AudioError | None = None
    ends: list[int] = field(default_factory=list)
    kept_samples: int = 0
    channels: int = 1

    def take(self, rows: np.ndarray) -> None:
        """Take the windows' results from rows of `output_rows`."""
        experts = (rows.shape[1] - 2) // 2
        self.logits, self.strangeness = rows[:, 0], rows[:, 1]
        self.expert_logits, self.gate_weights = rows[:, 2 : 2 + experts], rows[:, 2 + experts :]

    @property
    def logit(self) -> float:
        """Mean of the windows' logits, each weighing as much as there is speech in it."""
        return float(self.logits @ self.window_weights)

    @property
    def window_weights(self) -> np.ndarray:
        """(windows,), sum 1: shares of the speech; alike where none is found anywhere."""
        shares = self.speech_shares if self.speech_shares.sum() > 0 else np.ones(len(self.logits))
        return shares / shares.sum()

    @property
    def mean_strangeness(self) -> float:
        """Mean of the windows' strangeness, weighed as their logits; NaN where unknown."""
        return float(self.strangeness @ self.window_weights) if len(self.strangeness) else float("nan")

    @property
    def mean_expert_logits(self) -> np.ndarray:
        """(E,), each over the windows that the expert judged; NaN if there is none."""
        ran = ~np.isnan(self.expert_logits)
        weights = np.where(ran, self.window_weights[:, None], 0.0)
        sums = (weights * np.where(ran, self.expert_logits, 0.0)).sum(axis=0)
        totals = weights.sum(axis=0)
        return np.where(totals > 0, sums / np.where(totals > 0, totals, 1.0), np.nan)


def predict(
    model: DetectorModel,
    trials: Sequence[str | Trial],
    policy: WindowPolicy,
    workers: int = 2,
    batch_size: int = 16,
    measure: bool = False,
    block_trials: int | None = None,
) -> Iterator[Prediction]:
    """Run the network on trials, in their order: the one path of every score.

    The network must be in evaluation mode. Batches run over trial borders, but not over the border of a block of
    `block_trials`, so that equal blocks give bit-equal scores.

    Args:
        model: the network.
        trials: recordings, or their paths.
        policy: how each becomes windows.
        workers: threads that decode ahead.
        batch_size: windows per batch, at least 1.
        measure: whether to measure the recordings' quality.
        block_trials: trials per block; None for one block.
    Raises:
        ScoringError: in training mode, for an impossible batch size, and for a logit that is not finite, naming
            the file.
    """
    if model.training:
        raise ScoringError("the detector is in training mode; call .eval() before scoring")
    if batch_size < 1:
        raise ScoringError(f"batch_size must be at least 1, not {batch_size}")
    batcher = _Batcher(model, trials, batch_size)
    for chunk in prefetch(trials, policy, workers, measure):
        if block_trials and chunk.index % block_trials == 0 and chunk.first:
            yield from batcher.flush()
        yield from batcher.add(chunk)
    yield from batcher.flush()


class _Batcher:
    """Gathers windows into full batches, and their results back into trials."""

    def __init__(self, model: DetectorModel, trials: Sequence[str | Trial], batch_size: int) -> None:
        self.model, self.trials, self.batch_size = model, trials, batch_size
        self.device = next(iter(model.state_dict().values())).device
        self.waiting: list[np.ndarray] = []
        self.waiting_count = 0
        self.results: list[np.ndarray] = []
        self.powers: defaultdict[int, list[np.ndarray]] = defaultdict(list)
        self.pending: list[tuple[Prediction, int, bool]] = []  # trial, windows owed, whether it has ended

    def add(self, chunk: WindowChunk) -> Iterator[Prediction]:
        if not self.pending or self.pending[-1][2]:
            self.pending.append((Prediction(chunk.index, str(self.trials[chunk.index])), 0, False))
        trial, owed, _ = self.pending[-1]
        if chunk.error is not None and owed:
            # Windows of a file that fails midway are scored with their batch, then thrown away.
            trial.starts, trial.ends = [], []
        trial.starts += chunk.starts
        trial.ends += chunk.ends
        trial.kept_samples, trial.channels = chunk.kept_samples, chunk.channels
        self.powers[chunk.index] += [frame_powers(window, SPEECH_FRAME) for window in chunk.windows]
        trial.quality, trial.error = chunk.quality, chunk.error
        self.pending[-1] = (trial, owed + len(chunk.starts), chunk.last)
        if len(chunk.starts):
            self.waiting.append(chunk.windows)
            self.waiting_count += len(chunk.windows)
        while self.waiting_count >= self.batch_size:
            self._run(self.batch_size)
        yield from self._finished()

    def flush(self) -> Iterator[Prediction]:
        while self.waiting_count:
            self._run(min(self.batch_size, self.waiting_count))
        yield from self._finished()

    def _run(self, count: int) -> None:
        windows = np.concatenate(self.waiting)
        batch, rest = windows[:count], windows[count:]
        self.waiting, self.waiting_count = ([rest] if len(rest) else []), len(rest)
        with torch.inference_mode():
            output = self.model(torch.from_numpy(batch).to(self.device))
            self.results.append(output_rows(output))

    def _finished(self) -> Iterator[Prediction]:
        available = sum(map(len, self.results))
        while self.pending:
            trial, owed, ended = self.pending[0]
            if not ended or available < owed:
                return
            rows = np.concatenate(self.results) if self.results else np.zeros((0, 1))
            mine, rest = rows[:owed], rows[owed:]
            self.results = [rest] if len(rest) else []
            available -= owed
            self.pending.pop(0)
            yield self._gathered(trial, mine)

    def _gathered(self, trial: Prediction, rows: np.ndarray) -> Prediction:
        powers = self.powers.pop(trial.index, [])
        if trial.error is None:
            if not np.isfinite(rows[:, 0]).all():  # an expert that was not run has no logit
                raise ScoringError(f"the detector gives a logit that is not finite for {trial.path!r}")
            trial.take(rows)
            trial.speech_shares = speech_shares(powers)
        return trial
