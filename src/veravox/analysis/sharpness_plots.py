"""Pictures of sharpness and of loss landscapes; light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from veravox.analysis.landscape import Landscape
from veravox.evaluation.plots import CYCLE, as_png, canvas

TITLES = {
    "one_step": "rise of the loss, one step",
    "ascent": "rise of the loss, several steps",
    "adaptive": "rise of the loss, adaptive step",
    "average": "mean rise of the loss",
    "eigenvalue": "largest Hessian eigenvalue",
}


def _tone(place: int, dark: bool) -> str:
    return CYCLE[place % len(CYCLE)][1 if dark else 0]


def draw_conditions(frame: pl.DataFrame, measure: str, dark: bool = False) -> bytes:
    """Sharpness of each condition with its interval, models beside each other."""
    labels = frame["condition"].unique(maintain_order=True).to_list()
    models = frame["model"].unique(maintain_order=True).to_list()
    with canvas(dark, 6.8, 1.4 + 0.34 * len(labels) * max(1.0, 0.6 * len(models))) as (drawing, axes):
        _with_intervals(axes, frame, labels, models, dark, upright=False)
        axes.set_yticks(range(len(labels)), labels)
        axes.invert_yaxis()
        axes.set_xlabel(TITLES[measure])
        axes.grid(visible=False, axis="y")
        if len(models) > 1:
            axes.legend(fontsize=9)
        return as_png(drawing)


def draw_drift(frame: pl.DataFrame, measure: str, dark: bool = False) -> bytes:
    """Sharpness as conditions are added one by one, from left to right."""
    labels = frame["condition"].unique(maintain_order=True).to_list()
    models = frame["model"].unique(maintain_order=True).to_list()
    with canvas(dark, 6.8, 4.4) as (drawing, axes):
        _with_intervals(axes, frame, labels, models, dark, upright=True)
        names = [label.partition(": ")[2] for label in labels]
        axes.set_xticks(range(len(labels)), names, rotation=35, ha="right", fontsize=9)
        axes.set_ylabel(TITLES[measure])
        axes.set_xlabel("conditions added, from the most frequent")
        if len(models) > 1:
            axes.legend(fontsize=9)
        return as_png(drawing)


def _with_intervals(
    axes: Any, frame: pl.DataFrame, labels: Sequence[str], models: Sequence[str], dark: bool, upright: bool
) -> None:
    for index, model in enumerate(models):
        mine = {row["condition"]: row for row in frame.filter(pl.col("model") == model).iter_rows(named=True)}
        shift = 0.16 * (index - (len(models) - 1) / 2)
        kept = [place for place, label in enumerate(labels) if label in mine]
        values = np.array([mine[labels[place]]["value"] for place in kept])
        rows = [mine[labels[place]] for place in kept]
        low = np.array([row["value"] if row["low"] is None else row["low"] for row in rows])
        high = np.array([row["value"] if row["high"] is None else row["high"] for row in rows])
        error = np.abs(np.stack([values - low, high - values]))
        places = np.array(kept) + shift
        style: dict[str, Any] = {"color": _tone(index, dark), "capsize": 3, "label": model, "lw": 1.6}
        if upright:
            axes.errorbar(places, values, yerr=error, fmt="o-", **style)
        else:
            axes.errorbar(values, places, xerr=error, fmt="o", **style)


def draw_lines(landscapes: Sequence[Landscape], dark: bool = False) -> bytes:
    """1-D landscapes in one picture, on one scale."""
    with canvas(dark) as (drawing, axes):
        for index, found in enumerate(landscapes):
            axes.plot(found.places, found.losses, "o-", ms=3, color=_tone(index, dark), label=found.model)
        _fit_scale(axes, landscapes)
        axes.set(xlabel=_axis_title(landscapes[0], "the"), ylabel="loss")
        axes.legend(fontsize=9)
        return as_png(drawing)


def _fit_scale(axes: Any, landscapes: Sequence[Landscape]) -> None:
    low = min(float(found.losses.min()) for found in landscapes)
    high = max(float(found.losses.max()) for found in landscapes)
    if low > 0 and high > 50 * low:
        axes.set_yscale("log")


def _axis_title(found: Landscape, which: str) -> str:
    kind = "random direction, filter-normalised" if found.directions == "random" else "Hessian direction"
    return f"{which} {kind}"


def draw_square(landscapes: Sequence[Landscape], index: int, dark: bool = False) -> bytes:
    """One 2-D landscape, its colours and levels those of all that are given."""
    found = landscapes[index]
    low = min(float(one.losses.min()) for one in landscapes)
    high = max(float(one.losses.max()) for one in landscapes)
    wide = low > 0 and high > 20 * low
    levels = np.geomspace(low * 0.999, high * 1.001, 16) if wide else np.linspace(low, high + 1e-9, 16)
    with canvas(dark, 5.6, 4.8) as (drawing, axes):
        axes.grid(visible=False)
        image = axes.contourf(
            found.places,
            found.places,
            found.losses.T,
            levels=levels,
            cmap="viridis",
            norm="log" if wide else None,
        )
        axes.plot([0], [0], "+", color="#ffffff", ms=12, mew=2)
        bar = drawing.colorbar(image, ax=axes, label="loss")
        bar.set_ticks(levels[::3], labels=[f"{level:.3g}" for level in levels[::3]])
        bar.minorticks_off()
        axes.set(xlabel=_axis_title(found, "first"), ylabel=_axis_title(found, "second"), aspect="equal")
        axes.set_title(found.model, fontsize=11)
        return as_png(drawing)


def draw_correlation(
    frame: pl.DataFrame, measure: str, coefficients: Mapping[str, Any], dark: bool = False
) -> bytes:
    """Sharpness against EER over models on one test set, the coefficients above."""
    with canvas(dark) as (drawing, axes):
        axes.scatter(frame["value"], 100 * frame["eer"].to_numpy(), color=_tone(0, dark), s=36)
        if len(frame) <= 12:
            for row in frame.iter_rows(named=True):
                place = (row["value"], 100 * row["eer"])
                axes.annotate(row["model"], place, xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.set(xlabel=TITLES[measure], ylabel="EER, %")
        axes.margins(0.15)
        title = ", ".join(
            f"{name} {coefficients[name]:.2f}"
            for name in ("pearson", "spearman", "kendall")
            if coefficients[name] is not None
        )
        axes.set_title(title, fontsize=10)
        return as_png(drawing)
