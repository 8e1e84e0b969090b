"""Pictures of scores: DET, ROC, histograms, reliability, groups with intervals; light and dark."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from veravox.evaluation.metrics.likelihood import reliability_of_points
from veravox.evaluation.metrics.rates import Floats, OperatingPoints
from veravox.evaluation.results import Evaluation, GroupResult
from veravox.evaluation.tables.summary import lower_is_better, title_of

MOST_POINTS = 2000
MOST_GROUPS = 100
LIGHT = {"paper": "#ffffff", "ink": "#1b2330", "soft": "#8993a3", "line": "#dfe3ea"}
DARK = {"paper": "#181e27", "ink": "#e5eaf2", "soft": "#7f8b9e", "line": "#2d3643"}
BONA_FIDE_COLOUR, SPOOF_COLOUR = ("#0072b2", "#56b4e9"), ("#d55e00", "#f0923b")
CYCLE = (
    ("#0072b2", "#56b4e9"),
    ("#d55e00", "#f0923b"),
    ("#009e73", "#2fc79a"),
    ("#aa4499", "#cc79a7"),
    ("#666666", "#bbbbbb"),
)


@contextmanager
def canvas(dark: bool, width: float = 6.4, height: float = 4.6) -> Iterator[tuple[Any, Any]]:
    """Yield a figure and its axes in the house's style, closed afterwards."""
    import matplotlib

    colours = DARK if dark else LIGHT
    style: Any = {
        "figure.facecolor": colours["paper"],
        "axes.facecolor": colours["paper"],
        "savefig.facecolor": colours["paper"],
        "text.color": colours["ink"],
        "axes.labelcolor": colours["ink"],
        "axes.edgecolor": colours["soft"],
        "xtick.color": colours["ink"],
        "ytick.color": colours["ink"],
        "grid.color": colours["line"],
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.facecolor": colours["paper"],
        "legend.edgecolor": "none",
        "font.size": 11,
        "font.family": "DejaVu Sans",
    }
    with matplotlib.rc_context(style):
        from matplotlib.figure import Figure as Drawing

        drawing = Drawing(figsize=(width, height), layout="constrained")
        yield drawing, drawing.add_subplot()


def as_png(drawing: Any, dots_per_inch: int = 150) -> bytes:
    """A drawing as the bytes of a PNG."""
    target = io.BytesIO()
    drawing.savefig(target, format="png", dpi=dots_per_inch)
    return target.getvalue()


def _colour(pair: tuple[str, str], dark: bool) -> str:
    return pair[1] if dark else pair[0]


def thinned(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """At most a few thousand of the corners of a curve, evenly along it, with both ends."""
    if len(x) <= MOST_POINTS:
        return x, y
    length = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
    keep = np.unique(np.searchsorted(length, np.linspace(0, length[-1], MOST_POINTS)))
    keep = np.append(keep, len(x) - 1) if keep[-1] != len(x) - 1 else keep
    return x[keep], y[keep]


PROBIT_TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8)


def _percent(share: float) -> str:
    return f"{100 * share:g}"


def draw_det(curves: Mapping[str, OperatingPoints], dark: bool = False) -> bytes:
    """Detection error trade-off: both error rates on normal-deviate axes, the EER marked on each curve."""
    from scipy.special import ndtri  # slow to import

    with canvas(dark, 6.0, 5.4) as (drawing, axes):
        smallest = min(min(0.5 / p.bona_fide, 0.5 / p.spoof) for p in curves.values())
        lowest = max(1e-5, min(0.004, smallest))
        for (name, points), pair in zip(curves.items(), CYCLE * len(curves), strict=False):
            alarm = ndtri(np.clip(points.false_alarm_rates, lowest / 2, 1 - lowest / 2))
            miss = ndtri(np.clip(points.miss_rates, lowest / 2, 1 - lowest / 2))
            rate = points.equal_error_rate()
            axes.plot(
                *thinned(alarm, miss), color=_colour(pair, dark), lw=2, label=f"{name}: EER {100 * rate:.2f} %"
            )
            if lowest < rate < 1 - lowest:
                at = points.eer_point()
                axes.plot(alarm[at], miss[at], "o", color=_colour(pair, dark), ms=7)
        ticks = [tick for tick in PROBIT_TICKS if tick >= lowest]
        low, high = ndtri(max(lowest, ticks[0] / 2)), ndtri(0.85)
        axes.plot([low, high], [low, high], color=axes.xaxis.label.get_color(), lw=0.8, ls=":")
        for side in (axes.xaxis, axes.yaxis):
            side.set_ticks(ndtri(ticks), [_percent(tick) for tick in ticks])
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.set(xlabel="spoof passed as bona fide, %", ylabel="bona fide called spoof, %")
        axes.legend(loc="upper right", fontsize=9)
        return as_png(drawing)


def draw_roc(curves: Mapping[str, OperatingPoints], dark: bool = False) -> bytes:
    """Receiver operating characteristic with a logarithmic axis of false alarms, where detectors differ."""
    with canvas(dark) as (drawing, axes):
        lowest = max(1e-5, min(0.5 / points.spoof for points in curves.values()))
        for (name, points), pair in zip(curves.items(), CYCLE * len(curves), strict=False):
            alarm, hit = np.maximum(points.false_alarm_rates, lowest), 1 - points.miss_rates
            alarm, hit = thinned(np.log10(alarm), hit)
            label = f"{name}: AUC {100 * points.auc():.2f} %"
            axes.step(10**alarm, hit, where="pre", color=_colour(pair, dark), lw=2, label=label)
        chance = np.logspace(np.log10(lowest), 0, 200)
        axes.plot(chance, chance, color=axes.xaxis.label.get_color(), lw=0.8, ls=":", label="chance")
        axes.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1.02))
        axes.set(xlabel="share of spoof passed as bona fide", ylabel="share of bona fide passed")
        axes.legend(loc="lower right", fontsize=9)
        return as_png(drawing)


def draw_histogram(points: OperatingPoints, thresholds: Mapping[str, float], dark: bool = False) -> bytes:
    """Scores of both classes, each as a share of its class, with thresholds."""
    with canvas(dark) as (drawing, axes):
        values = points.thresholds
        edges = _edges(points)
        for name, counts, pair in (
            ("spoof", points.spoof_counts, SPOOF_COLOUR),
            ("bona fide", points.bona_fide_counts, BONA_FIDE_COLOUR),
        ):
            heights, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges, weights=counts)
            share = 100 * heights / heights.sum()
            colour, label = _colour(pair, dark), f"{name} ({counts.sum()})"
            axes.stairs(share, edges, fill=True, alpha=0.45, color=colour, label=label)
            axes.stairs(share, edges, color=colour, lw=1.2)
        for (name, threshold), style in zip(thresholds.items(), ("-", "--", ":", "-.") * 3, strict=False):
            if edges[0] <= threshold <= edges[-1]:
                label = f"{name}: {threshold:.4g}"
                axes.axvline(threshold, color=axes.xaxis.label.get_color(), lw=1.3, ls=style, label=label)
        axes.set(xlabel="score (higher is more bona fide)", ylabel="% of the class", xlim=(edges[0], edges[-1]))
        axes.legend(fontsize=9)
        return as_png(drawing)


def _edges(points: OperatingPoints, bins: int = 80) -> Floats:
    """Bins over all but the outermost thousandth of either class: one far score must not flatten the rest."""
    values = points.thresholds
    quantiles = []
    for counts in (points.bona_fide_counts, points.spoof_counts):
        rank = np.cumsum(counts)
        quantiles += [values[np.searchsorted(rank, share * rank[-1])] for share in (0.0005, 0.9995)]
    low, high = min(quantiles), max(quantiles)
    margin = (high - low or 1.0) * 0.02
    return np.linspace(low - margin, high + margin, bins + 1)


def draw_reliability(points: OperatingPoints, dark: bool = False, prior: float = 0.5) -> bytes:
    """Said against found probability of bona fide; the size of a point is its share of the trials."""
    found = reliability_of_points(points, prior)
    with canvas(dark, 5.6, 5.0) as (drawing, axes):
        axes.plot([0, 1], [0, 1], color=axes.xaxis.label.get_color(), lw=0.8, ls=":", label="perfectly calibrated")
        colour = _colour(BONA_FIDE_COLOUR, dark)
        axes.plot(found.said, found.found, color=colour, lw=1, alpha=0.6)
        axes.scatter(found.said, found.found, s=30 + 400 * found.shares, color=colour, alpha=0.85, clip_on=False)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set(xlabel="said: probability of bona fide", ylabel="found: share of bona fide")
        axes.legend(title=f"calibration error {100 * found.error:.2f} %", loc="upper left", fontsize=9)
        return as_png(drawing)


def draw_groups(
    parts: Sequence[GroupResult], metric: str, column: str, overall: float | None, dark: bool = False
) -> bytes:
    """One bar a group with its interval, the worst on top, and the figure of all trials as a line.

    Of very many groups only the worst are drawn, and the axis says so.
    """
    shown = [part for part in parts if metric in part.estimates]
    shown.sort(key=lambda part: part.estimates[metric].value, reverse=not lower_is_better(metric))
    if len(shown) > MOST_GROUPS:
        column = f"{column}: worst {MOST_GROUPS} of {len(shown)}"
        shown = shown[-MOST_GROUPS:]
    with canvas(dark, 6.4, max(2.2, 0.8 + 0.32 * len(shown))) as (drawing, axes):
        values = np.array([100 * part.estimates[metric].value for part in shown])
        bounds = [(part.estimates[metric].low, part.estimates[metric].high) for part in shown]
        colour = _colour(SPOOF_COLOUR, dark)
        axes.barh(range(len(shown)), values, color=colour, alpha=0.75, height=0.7)
        for index, (low, high) in enumerate(bounds):
            if low is not None and high is not None:
                ends = [[max(0.0, values[index] - 100 * low)], [max(0.0, 100 * high - values[index])]]
                axes.errorbar(
                    values[index], index, xerr=ends, color=axes.xaxis.label.get_color(), capsize=3, lw=1.2
                )
        if overall is not None:
            axes.axvline(100 * overall, color=axes.xaxis.label.get_color(), lw=1.2, ls="--", label="all trials")
            axes.legend(fontsize=9, loc="lower right")
        axes.set_yticks(range(len(shown)), [_shortened(part.name) for part in shown])
        axes.set(xlabel=f"{title_of(metric)}, %", ylabel=column, xlim=(0, None))
        axes.grid(axis="y", visible=False)
        axes.margins(y=min(0.05, 1 / max(1, len(shown))))  # a share of the height: of many bars, many bars' worth
        return as_png(drawing)


def _shortened(name: str, most: int = 32) -> str:
    name = name.replace("$", r"\$")
    return name if len(name) <= most else name[: most - 1] + "…"


def pictures_of(evaluation: Evaluation, dark: bool = False) -> dict[str, tuple[str, bytes]]:
    """Every picture of an evaluation: file name without ending to what it shows and its PNG."""
    curves = {"all trials": evaluation.points}
    thresholds = {name or "threshold": threshold for name, (_, threshold) in evaluation.operating_points.items()}
    found = {
        "det": ("Detection error trade-off, with the EER marked", draw_det(curves, dark)),
        "roc": ("Receiver operating characteristic", draw_roc(curves, dark)),
        "histogram": ("Scores of both classes", draw_histogram(evaluation.points, thresholds, dark)),
    }
    if evaluation.ratio_points is not None:
        found["reliability"] = (
            "Reliability: said against found probability",
            draw_reliability(evaluation.ratio_points, dark),
        )
    sets = [(column, list(parts)) for column, parts in evaluation.groups.items()]
    sets += [(f"pool {pool.name}", list(pool.datasets)) for pool in evaluation.pools]
    for column, parts in sets:
        metric = next(
            (name for name in ("eer", "tpr", "tnr") if any(name in part.estimates for part in parts)), None
        )
        if metric is not None:
            whole = evaluation.whole.estimates.get(metric)
            picture = draw_groups(parts, metric, column, whole.value if whole else None, dark)
            found[group_picture(column)] = (f"{title_of(metric)} by {column}", picture)
    return found


def group_picture(column: str) -> str:
    """File name, without ending, of the picture of a column's groups; of a pool, `pool NAME`."""
    return f"by-{_slug(column)}"


def _slug(text: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in text).strip("-").lower()
