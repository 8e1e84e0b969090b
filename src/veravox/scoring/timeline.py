"""The picture of a recording: its loudness, and the score of every window over time."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from veravox.audio import open_audio
from veravox.models.detector import SAMPLE_RATE_HZ
from veravox.tables import Calibration

COLUMNS = 1200
LIGHT = {"paper": "#ffffff", "ink": "#1b2330", "soft": "#566174", "line": "#dfe3ea", "wave": "#9fb3c8"}
DARK = {"paper": "#181e27", "ink": "#e5eaf2", "soft": "#9ba7b9", "line": "#2d3643", "wave": "#4d6a86"}
GOOD, BAD, DOUBT = "#2a9d6a", "#d1495b", "#c9962b"


def envelope(path: str, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Peak amplitude of a file in up to 1,200 equal stretches of time: (times in s, peaks), streamed."""
    stretch = max(1, int(np.ceil(duration_s * SAMPLE_RATE_HZ / COLUMNS)))
    peaks: list[np.ndarray] = []
    rest = np.zeros(0, dtype=np.float32)
    with open_audio(path, SAMPLE_RATE_HZ) as stream:
        for block in stream:
            joined = np.concatenate([rest, block])
            whole = len(joined) // stretch * stretch
            peaks.append(np.abs(joined[:whole]).reshape(-1, stretch).max(axis=1))
            rest = joined[whole:]
    if len(rest):
        peaks.append(np.abs(rest).max(keepdims=True))
    values = np.concatenate(peaks)
    return (np.arange(len(values)) + 0.5) * stretch / SAMPLE_RATE_HZ, values


def timeline(
    windows: Sequence[tuple[float, float, float]],
    wave: tuple[np.ndarray, np.ndarray],
    calibration: Calibration | None,
    most_spoof_like: tuple[float, float, float] | None,
    dark: bool = False,
) -> bytes:
    """PNG of the waveform's peaks above the windows' scores, with the two thresholds."""
    from matplotlib.figure import Figure

    colours = DARK if dark else LIGHT
    figure = Figure(figsize=(9.6, 4.2), dpi=120, facecolor=colours["paper"], layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 2])
    upper.fill_between(wave[0], -wave[1], wave[1], color=colours["wave"], linewidth=0)
    upper.set(ylim=(-1.02, 1.02), yticks=[-1, 0, 1], ylabel="peak")
    scores = np.array([score for _, _, score in windows])
    for (start, end, score), colour in zip(windows, _colours(scores, calibration), strict=True):
        lower.plot([start, end], [score, score], color=colour, linewidth=3, solid_capstyle="butt")
    low, high = min(scores.min(), -1.0), max(scores.max(), 1.0)
    if calibration is not None:
        low, high = min(low, calibration.lower), max(high, calibration.upper)
        lower.axhspan(calibration.lower, calibration.upper, color=DOUBT, alpha=0.13, linewidth=0)
        lower.axhline(calibration.upper, color=GOOD, linewidth=1, linestyle="--")
        lower.axhline(calibration.lower, color=BAD, linewidth=1, linestyle="--")
    if most_spoof_like is not None:
        lower.axvspan(most_spoof_like[0], most_spoof_like[1], color=BAD, alpha=0.08, linewidth=0)
    margin = 0.08 * (high - low)
    lower.set(ylim=(low - margin, high + margin), xlabel="time (s)", ylabel="score\n(bona fide above)")
    lower.set_xlim(0, max(windows[-1][1], wave[0][-1]))
    for axes in (upper, lower):
        axes.set_facecolor(colours["paper"])
        axes.tick_params(colors=colours["soft"], labelsize=9)
        axes.xaxis.label.set_color(colours["ink"])
        axes.yaxis.label.set_color(colours["ink"])
        axes.grid(color=colours["line"], linewidth=0.6)
        axes.set_axisbelow(True)
        for spine in axes.spines.values():
            spine.set_color(colours["line"])
    held = io.BytesIO()
    figure.savefig(held, format="png", facecolor=colours["paper"])
    return held.getvalue()


def _colours(scores: np.ndarray, calibration: Calibration | None) -> list[str]:
    if calibration is None:
        return ["#4878a8"] * len(scores)
    by_verdict = {"bonafide": GOOD, "spoof": BAD, "uncertain": DOUBT}
    return [by_verdict[calibration.verdict(float(score))] for score in scores]
