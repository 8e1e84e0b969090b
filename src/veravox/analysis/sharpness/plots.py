"""Pictures of sharpness and of loss landscapes; light and dark."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from veravox.analysis.sharpness.landscape import Landscape
from veravox.evaluation.tables.plots import CYCLE, as_png, canvas

TITLES = {
    "one_step": "sharpness: rise of the loss in one step",
    "ascent": "sharpness: rise of the loss in several steps",
    "adaptive": "sharpness: rise of the loss in one adaptive step",
    "average": "sharpness: mean rise of the loss",
    "eigenvalue": "largest eigenvalue of the loss's Hessian",
}


MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Beside the colours, so that models are told apart without them."""
MOST_CONDITIONS = 40
RUN_NUMBER = re.compile(r"[/_. -](seed[-_. ]?)?\d+$", re.IGNORECASE)


def _tone(index: int, dark: bool) -> str:
    return CYCLE[index % len(CYCLE)][1 if dark else 0]


def _mark(index: int) -> str:
    return MARKERS[index % len(MARKERS)]


def system_of(model: str) -> str:
    """What a model is a run of: its name without the seed, `slim_expert-0` or `slim_expert/seed-0`."""
    return RUN_NUMBER.sub("", model)


def _title(frame: pl.DataFrame, measure: str) -> str:
    rho = frame["rho"][0]
    return TITLES[measure] if rho is None else f"{TITLES[measure]}, rho = {rho:g}"


def _legend(drawing: Any, axes: Any) -> None:
    """Above the picture, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        columns = 2 if max(map(len, labels)) > 24 else min(3, len(labels))
        drawing.legend(handles, labels, loc="outside upper left", ncols=columns, fontsize=9, frameon=False)


def draw_conditions(frame: pl.DataFrame, measure: str, dark: bool = False) -> bytes:
    """Sharpness of each condition with its interval, the sharpest first, models beside each other.

    Of more than `MOST_CONDITIONS` the sharpest are drawn; the table has all.
    """
    order = frame.group_by("condition", maintain_order=True).agg(pl.col("value").mean())
    labels = order.sort("value", descending=True, maintain_order=True)["condition"].to_list()
    left = labels[MOST_CONDITIONS:]
    labels = labels[:MOST_CONDITIONS]
    models = frame["model"].unique(maintain_order=True).to_list()
    with canvas(dark, 6.8, 1.8 + 0.34 * len(labels) * max(1.0, 0.6 * len(models))) as (drawing, axes):
        _with_intervals(axes, frame, labels, models, dark, upright=False)
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.set_xlabel(_title(frame, measure) + (f"; {len(left)} flatter ones not drawn" if left else ""))
        axes.grid(visible=False, axis="y")
        _legend(drawing, axes)
        return as_png(drawing)


def draw_drift(frame: pl.DataFrame, measure: str, dark: bool = False) -> bytes:
    """Sharpness as conditions are added one by one, from left to right."""
    name = str(frame["column"][0]).removeprefix("drift:")
    labels = frame["condition"].unique(maintain_order=True).to_list()
    models = frame["model"].unique(maintain_order=True).to_list()
    with canvas(dark, 6.8, 4.4) as (drawing, axes):
        _with_intervals(axes, frame, labels, models, dark, upright=True)
        names = [label.partition(": ")[2] for label in labels]
        short = max(map(len, names)) <= 6 and len(names) <= 10
        turned: dict[str, Any] = {} if short else {"rotation": 35, "ha": "right"}
        axes.set_xticks(range(len(labels)), names, fontsize=9, **turned)
        axes.set_ylabel(textwrap.fill(_title(frame, measure), 40))
        axes.set_xlabel(f"{name} added one by one, the most frequent first")
        _legend(drawing, axes)
        return as_png(drawing)


def _with_intervals(
    axes: Any, frame: pl.DataFrame, labels: Sequence[str], models: Sequence[str], dark: bool, upright: bool
) -> None:
    for index, model in enumerate(models):
        mine = {row["condition"]: row for row in frame.filter(pl.col("model") == model).iter_rows(named=True)}
        shift = 0.16 * (index - (len(models) - 1) / 2)
        slots = [slot for slot, label in enumerate(labels) if label in mine]
        values = np.array([mine[labels[slot]]["value"] for slot in slots])
        rows = [mine[labels[slot]] for slot in slots]
        low = np.array([row["value"] if row["low"] is None else row["low"] for row in rows])
        high = np.array([row["value"] if row["high"] is None else row["high"] for row in rows])
        error = np.abs(np.stack([values - low, high - values]))
        places = np.array(slots) + shift
        style: dict[str, Any] = {"color": _tone(index, dark), "capsize": 3, "label": model, "lw": 1.6}
        if upright:
            axes.errorbar(places, values, yerr=error, fmt=_mark(index) + "-", **style)
        else:
            axes.errorbar(values, places, xerr=error, fmt=_mark(index), **style)


def draw_lines(landscapes: Sequence[Landscape], dark: bool = False) -> bytes:
    """1-D landscapes in one picture, on one scale."""
    with canvas(dark) as (drawing, axes):
        for index, landscape in enumerate(landscapes):
            style: dict[str, Any] = {"marker": _mark(index), "ms": 4, "color": _tone(index, dark)}
            axes.plot(landscape.places, landscape.losses, label=landscape.model, **style)
        axes.axvline(0.0, color=_tone(4, dark), lw=1, ls=":", zorder=0)
        _fit_scale(axes, landscapes)
        axes.set(
            xlabel=_axis_title(
                landscapes[0], "along a" if landscapes[0].directions == "random" else "along the top"
            )
        )
        axes.set_ylabel("loss (cross-entropy)")
        _legend(drawing, axes)
        return as_png(drawing)


def _fit_scale(axes: Any, landscapes: Sequence[Landscape]) -> None:
    low = min(float(landscape.losses.min()) for landscape in landscapes)
    high = max(float(landscape.losses.max()) for landscape in landscapes)
    if low > 0 and high > 50 * low:
        axes.set_yscale("log")


def _axis_title(landscape: Landscape, which: str) -> str:
    if landscape.directions == "random":
        return f"{which} random direction (1: as long as the weights, filter by filter)"
    return f"{which} Hessian direction (1: a tenth as long as a random one)"


def draw_square(landscapes: Sequence[Landscape], index: int, dark: bool = False) -> bytes:
    """One 2-D landscape, its colours and levels those of all that are given."""
    landscape = landscapes[index]
    low = min(float(one.losses.min()) for one in landscapes)
    high = max(float(one.losses.max()) for one in landscapes)
    wide = low > 0 and high > 20 * low
    levels = np.geomspace(low * 0.999, high * 1.001, 16) if wide else np.linspace(low, high + 1e-9, 16)
    with canvas(dark, 5.6, 4.8) as (drawing, axes):
        axes.grid(visible=False)
        image = axes.contourf(
            landscape.places,
            landscape.places,
            landscape.losses.T,
            levels=levels,
            cmap="viridis",
            norm="log" if wide else None,
        )
        axes.plot([0], [0], "+", color="#000000", ms=13, mew=4)
        axes.plot([0], [0], "+", color="#ffffff", ms=12, mew=2)
        bar = drawing.colorbar(image, ax=axes, label="loss (cross-entropy)")
        bar.set_ticks(levels[::3], labels=[f"{level:.3g}" for level in levels[::3]])
        bar.minorticks_off()
        kind = "random direction" if landscape.directions == "random" else "Hessian direction"
        axes.set(xlabel=f"first {kind}", ylabel=f"second {kind}", aspect="equal")
        axes.set_title(landscape.model, fontsize=11)
        return as_png(drawing)


def draw_correlation(
    frame: pl.DataFrame, measure: str, coefficients: Mapping[str, Any], dark: bool = False
) -> bytes:
    """Sharpness against EER over models on one test set: a mark for each run, a colour for each system."""
    systems = list(dict.fromkeys(system_of(model) for model in frame["model"]))
    several = len(systems) < len(frame)
    with canvas(dark, 6.4, 4.8) as (drawing, axes):
        for index, system in enumerate(systems):
            mine = frame.filter(pl.Series([system_of(model) == system for model in frame["model"]]))
            style: dict[str, Any] = {"color": _tone(index, dark), "marker": _mark(index), "s": 42}
            axes.scatter(mine["value"], 100 * mine["eer"].to_numpy(), label=system, **style)
        if not several and len(frame) <= 8:
            for row in frame.iter_rows(named=True):
                point = (row["value"], 100 * row["eer"])
                axes.annotate(row["model"], point, xytext=(6, 5), textcoords="offset points", fontsize=8)
        else:
            _legend(drawing, axes)
        axes.set(xlabel=_title(frame, measure), ylabel="EER, %")
        axes.margins(0.15)
        axes.set_title(_coefficients(coefficients), fontsize=9, loc="left")
        return as_png(drawing)


def _coefficients(row: Mapping[str, Any]) -> str:
    """Each with its interval, a line each; or that there are none."""
    lines = []
    for name, title in (("pearson", "Pearson"), ("spearman", "Spearman"), ("kendall", "Kendall")):
        if row[name] is not None:
            low, high = row.get(f"{name}_low"), row.get(f"{name}_high")
            spread = "" if low is None else f" ({low:.2f} to {high:.2f})"
            lines.append(f"{title} {row[name]:.2f}{spread}")
    return ",  ".join(lines) or "no correlation: nothing varies"
