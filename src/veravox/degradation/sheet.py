"""One trial through every operation of a suite, to be looked at: spectrograms, and measured beside intended."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import soxr

from veravox import pages
from veravox.augment.recordings import read_native
from veravox.degradation.degraded_copies import ORIGINAL
from veravox.degradation.measures import measure
from veravox.degradation.suites import suite_operations
from veravox.errors import ProtocolError, suggest
from veravox.files import write_bytes, write_text
from veravox.tables import Protocol

COLUMNS = 4
RANGE_DB = 80.0
FRAME_S, HOP_S = 0.025, 0.005


@dataclass(frozen=True)
class Panel:
    """One operation's result for one trial."""

    name: str
    path: str
    waveform: np.ndarray
    sample_rate_hz: int
    parameters: dict[str, Any]
    intended: dict[str, float]
    measured: dict[str, float]


def contact_sheet(
    source: Protocol, degraded: Protocol, suite: str, out: str | os.PathLike[str], utterance_id: str | None = None
) -> tuple[Path, Path, list[Panel]]:
    """Draw and measure one trial's degraded copies.

    Args:
        source: the protocol that was degraded.
        degraded: what `degrade` made of it.
        suite: whose operations made it.
        out: folder for `contact-sheet.png` and `contact-sheet.html`.
        utterance_id: of the source; its first trial if None.
    Returns:
        The two files, and the panels: the original first.
    Raises:
        ProtocolError: if the trial is not in both protocols.
    """
    wanted = utterance_id if utterance_id is not None else (source.utterance_ids or [""])[0]
    if wanted not in source.utterance_ids:
        raise ProtocolError(f"{source.name} has no trial {wanted!r}; {suggest(wanted, source.utterance_ids)}")
    panels = _panels(source, degraded, suite, wanted)
    folder = Path(out)
    picture = _draw(panels, wanted)
    png, page = folder / "contact-sheet.png", folder / "contact-sheet.html"
    write_bytes(png, picture)
    write_text(page, _page(panels, wanted, suite, picture, folder))
    return png, page, panels


def _panels(source: Protocol, degraded: Protocol, suite: str, utterance_id: str) -> list[Panel]:
    path = source.where(utterance_id=utterance_id).audio_paths()[0]
    original, rate_hz = read_native(path)
    panels = [Panel(ORIGINAL, path, original, rate_hz, {}, {}, {})]
    operations = {operation.name: operation for operation in suite_operations(suite)}
    rows = degraded.where(degraded_from=utterance_id)
    if not len(rows):
        raise ProtocolError(f"{degraded.name} has no copies of {utterance_id!r}")
    for row, file in zip(rows, rows.audio_paths(), strict=True):
        if row["degradation"] == ORIGINAL:
            continue
        operation = operations[row["degradation"]]
        parameters = json.loads(row["degradation_parameters"])
        waveform, file_rate_hz = read_native(file)
        intended = operation.intended(parameters)
        compared = soxr.resample(waveform, file_rate_hz, rate_hz)
        found = measure(operation, int(row["degradation_seed"]), intended, compared, original, rate_hz)
        panels.append(Panel(operation.name, file, waveform, file_rate_hz, parameters, intended, found))
    return panels


def _spectrogram_db(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Levels, shape (frequencies, frames), in dB of a full-scale tone."""
    size, hop = round(FRAME_S * sample_rate_hz), round(HOP_S * sample_rate_hz)
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(waveform, (size // 2, size)), size)[::hop]
    window = np.hanning(size)
    return 20 * np.log10(np.abs(np.fft.rfft(framed * window)).T * 2 / window.sum() + 1e-9)


def _draw(panels: Sequence[Panel], utterance_id: str) -> bytes:
    from matplotlib.figure import Figure

    columns = COLUMNS if len(panels) > 2 * COLUMNS else -(-len(panels) // 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.3 * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    top_khz = max(panel.sample_rate_hz for panel in panels[:1]) / 2000
    top_db = max(_spectrogram_db(panels[0].waveform, panels[0].sample_rate_hz).max(), -60.0)
    image = None
    for panel, axis in zip(panels, axes.flat, strict=False):
        levels = _spectrogram_db(panel.waveform, panel.sample_rate_hz)
        duration_s = len(panel.waveform) / panel.sample_rate_hz
        image = axis.imshow(
            levels,
            origin="lower",
            aspect="auto",
            extent=(0, duration_s, 0, panel.sample_rate_hz / 2000),
            cmap="magma",
            vmin=top_db - RANGE_DB,
            vmax=top_db,
            interpolation="nearest",
        )
        axis.set_facecolor("#b0b0b0")
        title = panel.name if panel.sample_rate_hz == panels[0].sample_rate_hz else _with_rate(panel)
        axis.set_title(title, fontsize=10)
        axis.tick_params(labelbottom=True)
    longest_s = max(len(panel.waveform) / panel.sample_rate_hz for panel in panels)
    axes[0, 0].set_xlim(0, longest_s)
    axes[0, 0].set_ylim(0, top_khz)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.suptitle(f"{utterance_id}: grey is outside the file", fontsize=11)
    figure.supxlabel("time (s)", fontsize=10)
    figure.supylabel("frequency (kHz)", fontsize=10)
    assert image is not None
    figure.colorbar(image, ax=axes, label="level (dB of full scale)", shrink=0.6, pad=0.01)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _with_rate(panel: Panel) -> str:
    return f"{panel.name} ({panel.sample_rate_hz / 1000:g} kHz file)"


UNITS = {
    "snr_db": ("SNR", "dB"),
    "added_snr_db": ("SNR", "dB"),
    "bandwidth_hz": ("band up to", "Hz"),
    "rt60_s": ("RT60", "s"),
    "duration_ratio": ("length times", ""),
}


def _shown(values: dict[str, float]) -> str:
    """Quantities that an operation has an intention about, in words."""
    shown = [f"{word} {values[name]:.4g} {unit}" for name, (word, unit) in UNITS.items() if name in values]
    return ", ".join(text.strip() for text in shown)


def _delay(panel: Panel) -> str:
    if "delay_ms" in panel.measured:
        return f"{panel.measured['delay_ms']:.2f}"
    if "onset_ms" in panel.measured:
        return f"{panel.measured['onset_ms']:.2f} of a click"
    if "loudness_delay_ms" in panel.measured:
        return f"{panel.measured['loudness_delay_ms']:.1f} of loudness"
    return ""


def _in_words(parameters: dict[str, Any]) -> str:
    return json.dumps(parameters, ensure_ascii=False).replace('"', "").strip("{}")


def _page(panels: Sequence[Panel], utterance_id: str, suite: str, picture: bytes, folder: Path) -> str:
    """The picture, and a table with a link per file; it opens without network."""
    rows, drawn = [], []
    for panel in panels:
        link = pages.escape(
            quote(os.path.relpath(os.path.abspath(panel.path), folder.resolve()), errors="replace")
        )
        level = f"{panel.measured['level_change_db']:+.2f}" if panel.measured else ""
        heard = pages.Html(f'<a href="{link}">listen</a>')
        rows.append(
            [panel.name, heard, _delay(panel), level, _shown(panel.intended), _shown(panel.measured)],
        )
        drawn.append([panel.name, pages.Cell(_in_words(panel.parameters), "wrap")])
    columns = ["operation", "file", "delay (ms)", "level (dB)", "intended", "measured"]
    drawing = pages.picture(picture, "Spectrograms of the original and of every operation's result")
    sections = [
        pages.Section("Spectrograms", drawing),
        pages.Section("Measured beside intended", pages.table(columns, rows)),
        pages.Section("What was drawn", pages.table(["operation", "parameters"], drawn[1:])),
    ]
    absent = [(each.name, reason) for each in suite_operations(suite) if (reason := each.missing()) is not None]
    if absent:
        sections.append(pages.Section("Skipped", pages.table(["operation", "what it needs"], absent)))
    return pages.page(f"{suite}: {utterance_id}", sections, "One trial through every operation of the suite.")
