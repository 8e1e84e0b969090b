"""An evaluation as grids to read: its estimates, its groups, its pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from veravox.evaluation.metrics.catalogue import DECISION_METRICS, METRICS
from veravox.evaluation.results import Estimate, Evaluation, GroupResult, Pool
from veravox.evaluation.tables.grid import Grid, GridCell

NOTHING = "–"
AUXILIARY = {
    "a_dcf": "a-DCF of the joint scores",
    "segment_eer": "EER over short segments",
    "range_eer": "EER over time",
}


def title_of(name: str) -> str:
    """What tables call a metric; `tpr@miss=0.01` keeps its operating point."""
    base, _, point = name.partition("@")
    title = METRICS[base].title if base in METRICS else DECISION_METRICS[base][0]
    return f"{title} @ {point}" if point else title


def lower_is_better(name: str) -> bool:
    """Which way is up for a metric."""
    base = name.partition("@")[0]
    return METRICS[base].lower_is_better if base in METRICS else DECISION_METRICS[base][1]


def show_value(name: str, value: float, digits: int = 2) -> str:
    """A value as tables print it: a percentage with `digits` decimals, a cost with two more."""
    metric = METRICS.get(name.partition("@")[0])
    percent = metric is None or metric.percent
    return f"{100 * value:.{digits}f} %" if percent else f"{value:.{digits + 2}f}"


def show_interval(name: str, estimate: Estimate, digits: int = 2) -> str:
    """The interval as tables print it, or a dash."""
    if estimate.low is None or estimate.high is None:
        return NOTHING
    low, high = (show_value(name, bound, digits).removesuffix(" %") for bound in (estimate.low, estimate.high))
    return f"{low} – {high}"


def estimates_grid(evaluation: Evaluation, digits: int = 4) -> Grid:
    """Every metric of all trials with its interval."""
    bootstrap = evaluation.settings["bootstrap"]
    rows = [
        [title_of(name), show_value(name, estimate.value, digits), show_interval(name, estimate, digits)]
        for name, estimate in _ordered(evaluation.whole.estimates).items()
    ]
    head = ["metric", "value", f"{bootstrap['confidence']:.0%} interval"]
    if not bootstrap["rounds"]:
        return Grid.of(head[:2], [row[:2] for row in rows])
    return Grid.of(head, rows)


def _part_cells(estimates: Mapping[str, Estimate], names: Sequence[str], with_interval: bool) -> list[GridCell]:
    cells = []
    for index, name in enumerate(names):
        estimate = estimates.get(name)
        cells.append(GridCell(show_value(name, estimate.value), estimate.value) if estimate else GridCell(NOTHING))
        if with_interval and index == 0:
            cells.append(GridCell(show_interval(name, estimate) if estimate else NOTHING))
    return cells


def _ordered(estimates: Mapping[str, Estimate]) -> dict[str, Estimate]:
    order = [*METRICS, *DECISION_METRICS]
    names = sorted(estimates, key=lambda name: ("@" in name, order.index(name.partition("@")[0])))
    return {name: estimates[name] for name in names}


def _names(parts: Sequence[GroupResult]) -> list[str]:
    return list(_ordered({name: estimate for part in parts for name, estimate in part.estimates.items()}))


def _head(names: Sequence[str], with_interval: bool) -> list[str]:
    head = [title_of(name) for name in names]
    return [head[0], "interval", *head[1:]] if with_interval and head else head


def groups_grid(evaluation: Evaluation, column: str) -> Grid:
    """One row a group: trials of both classes, figures (the first with its interval), who it stands against."""
    parts = evaluation.groups[column]
    with_interval = bool(evaluation.settings["bootstrap"]["rounds"])
    names = [name for name in _names(parts) if name != "f1"]
    rows = [_part_row(part, names, with_interval) for part in parts]
    notes = sorted({part.note for part in parts if part.note})
    head = [column, "bona fide", "spoof", *_head(names, with_interval)]
    if len(notes) <= 1:
        return Grid.of(head, rows, notes[0] if notes else "")
    return Grid.of([*head, "note"], [[*row, part.note] for row, part in zip(rows, parts, strict=True)])


def _part_row(part: GroupResult, names: Sequence[str], with_interval: bool) -> list[GridCell | str]:
    counts = [str(part.bona_fide), str(part.spoof)]
    return [part.name, *counts, *_part_cells(part.estimates, names, with_interval)]


def pool_grid(pool: Pool, with_interval: bool = False) -> Grid:
    """The datasets of a pool, their macro mean, and all their trials pooled: two different numbers, both named."""
    names = [name for name in _names([*pool.datasets, pool.pooled]) if name != "f1"]
    rows = [_part_row(part, names, with_interval) for part in pool.datasets]
    macro = f"macro mean of {len(pool.datasets)} datasets"
    rows.append([macro, NOTHING, NOTHING, *_part_cells(pool.macro, names, with_interval)])
    rows.append(_part_row(replace(pool.pooled, name="pooled: all trials together"), names, with_interval))
    return Grid.of([f"pool {pool.name}", "bona fide", "spoof", *_head(names, with_interval)], rows)


def grids_of(evaluation: Evaluation, digits: int = 4) -> list[tuple[str, Grid]]:
    """Every grid of an evaluation with its heading; `digits` of all trials, two in groups and pools."""
    with_interval = bool(evaluation.settings["bootstrap"]["rounds"])
    found = [("All trials", estimates_grid(evaluation, digits))]
    found += [(f"By {column}", groups_grid(evaluation, column)) for column in evaluation.groups]
    return found + [(f"Pool {pool.name}", pool_grid(pool, with_interval)) for pool in evaluation.pools]


def remarks(evaluation: Evaluation) -> list[str]:
    """What the metrics assume, one plain sentence each."""
    settings = evaluation.settings
    found = []
    for name, (rule, threshold) in evaluation.operating_points.items():
        which = f"Metrics @ {name}" if name else "Balanced accuracy, TPR, TNR and F1"
        found.append(f"{which} are at {rule} (score {threshold:.6g}).")
    cost = settings["cost"]
    found.append(
        f"DCF: P(spoof) {cost['p_spoof']:g}, a miss costs {cost['miss']:g}, a false alarm {cost['false_alarm']:g}."
    )
    widest = settings["max_false_alarm_rate"]
    found.append(f"EER: {settings['eer_form']} form. Partial AUC: false alarms up to {widest:g}.")
    found.append(f"Calibration: {settings['calibration']}.")
    bootstrap = settings["bootstrap"]
    if bootstrap["rounds"]:
        how = f"{bootstrap['rounds']} bootstrap rounds over {bootstrap['unit']}"
        found.append(f"Intervals: {bootstrap['confidence']:.0%}, {how}.")
    for name, title in AUXILIARY.items():
        if name in evaluation.auxiliary:
            found.append(_auxiliary_remark(name, title, evaluation))
    for name, reason in evaluation.not_computed.items():
        found.append(f"Not computed: {title_of(name)}, which {reason}.")
    return found


def _auxiliary_remark(name: str, title: str, evaluation: Evaluation) -> str:
    """`EER over time: 5.1234 % (4.8 % to 5.5 %; utterances drawn as wholes).`"""
    percent = name != "a_dcf"

    def show(value: float) -> str:
        return f"{100 * value:.4f} %" if percent else f"{value:.6f}"

    estimate, unit = evaluation[name], evaluation.settings["bootstrap"]["unit"]
    if estimate.low is None or estimate.high is None:
        return f"{title}: {show(estimate.value)}."
    over = ("utterances" if unit == "trials" else unit) if percent else "trials of each kind"
    interval = f"interval {show(estimate.low)} to {show(estimate.high)}, over {over}"
    return f"{title}: {show(estimate.value)} ({interval})."
