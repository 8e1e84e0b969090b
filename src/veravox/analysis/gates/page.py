"""The gate report as pictures and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from veravox import __version__
from veravox.analysis.gates.analyse import GateReport
from veravox.evaluation.tables.plots import CYCLE, as_png, canvas
from veravox.files import write_bytes, write_json, write_text
from veravox.pages import Cell, Html, Section, cards, join, notice, page, paragraph, picture, table

MOST_ROWS = 40


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction in print; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    values: np.ndarray,
    label: str,
    dark: bool = False,
    limits: tuple[float, float] | None = None,
) -> bytes:
    """A matrix as a PNG, its figures written in the cells in percent.

    Args:
        rows, columns: names; the first MOST_ROWS rows are drawn.
        values: (rows, columns), fractions.
        label: of the colours.
        limits: fractions at the two ends of the colours; None from 0 to the largest value.
    """
    rows, values = rows[:MOST_ROWS], values[:MOST_ROWS]
    width = 2.6 + 0.09 * max(map(len, rows)) + 0.95 * len(columns)
    low, high = limits or (0.0, float(values.max()) or 1.0)
    with canvas(dark, width, 1.5 + 0.42 * len(rows)) as (drawing, axes):
        image = axes.imshow(values, cmap="viridis", vmin=low, vmax=high, aspect="auto")
        axes.grid(False)
        axes.set_xticks(range(len(columns)), columns, rotation=25, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        for row, column in np.ndindex(*values.shape):
            bright = (values[row, column] - low) / max(high - low, 1e-9) > 0.6
            text = f"{100 * values[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", color="#111111" if bright else "#ffffff")
        bar = drawing.colorbar(image, ax=axes, fraction=0.05)
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        bar.set_label(label)
        return as_png(drawing)


def use_plot(report: GateReport, dark: bool = False) -> bytes:
    """Mean weights along an utterance as a PNG."""
    along = np.array(report.along)
    with canvas(dark, 6.4, 4.0) as (drawing, axes):
        places = (np.arange(len(along)) + 0.5) / len(along)
        for index, name in enumerate(report.names):
            axes.plot(places, along[:, index], "o-", ms=4, label=name, color=CYCLE[index % len(CYCLE)][dark])
        axes.set(xlabel="place in the utterance", ylabel="mean gate weight", xlim=(0, 1))
        axes.set_ylim(0, max(0.05, 1.15 * float(along.max())))
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        drawing.legend(loc="outside upper center", ncols=2 if len(report.names) % 3 else 3)
        return as_png(drawing)


def pictures_of(report: GateReport, dark: bool = False) -> dict[str, bytes]:
    """Every picture of the report, by file name without ending."""
    drawn = {}
    for column, rows in report.groups.items():
        weights = np.array([row["weights"] for row in rows])
        names = [row["value"] for row in rows]
        drawn[f"weights_{column}"] = heat_map(names, report.names, weights, "mean gate weight", dark)
    if report.similarity:
        names, matrix = report.similarity["domains"], np.array(report.similarity["matrix"])
        ends = (max(0.0, float(matrix.min()) - 0.05), 1.0)
        drawn["similarity"] = heat_map(names, names, matrix, "shared weight", dark, ends)
    if report.along:
        drawn["along"] = use_plot(report, dark)
    return drawn


def weight_rows(report: GateReport, column: str) -> tuple[list[str], list[list[str]]]:
    """Heads and cells of the table of one column: weights, the mixture's EER, each expert's."""
    heads = [column, "trials", *report.names, "EER", *(f"EER {name}" for name in report.names)]
    rows = [
        [
            row["value"],
            str(row["trials"]),
            *(percent(weight) for weight in row["weights"]),
            percent(row["eer"]),
            *(percent(eer) for eer in row["expert_eers"]),
        ]
        for row in report.groups[column]
    ]
    return heads, rows


def oracle_rows(report: GateReport) -> list[list[str]]:
    """What could be reached, one line a system."""
    if report.oracle is None:
        return []
    oracle = report.oracle
    return [
        ["mixture", percent(oracle["mixture"])],
        ["mean of the experts", percent(oracle["mean_of_experts"])],
        [f"best expert ({oracle['best_expert']})", percent(oracle["best_expert_eer"])],
        ["best expert of each domain", percent(oracle["best_expert_of_each_domain"])],
        ["oracle gate", percent(oracle["oracle"])],
    ]


def agreement_rows(report: GateReport) -> list[list[str]]:
    """One line a pair of experts."""

    def plain(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}"

    return [
        [
            " / ".join(pair["experts"]),
            plain(pair["q"]),
            plain(pair["error_correlation"]),
            percent(pair["agreement"]),
            percent(pair["double_fault"]),
        ]
        for pair in report.agreement
    ]


AGREEMENT_HEADS = ["experts", "Q", "error correlation", "same verdict", "both wrong"]


def html_page(report: GateReport, model: str, data: str) -> str:
    """The whole report as one page."""
    light, dark = pictures_of(report), pictures_of(report, dark=True)

    def drawn(name: str, alt: str, caption: str) -> Html:
        return picture(light[name], alt, caption, dark[name])

    sections = [Section("Experts", _experts(report), "experts")]
    for column in report.groups:
        heads, rows = weight_rows(report, column)
        parts = [drawn(f"weights_{column}", f"mean gate weights by {column}", "Mean gate weights in percent.")]
        if column == "domain":
            parts += [paragraph(remark) for remark in report.remarks()]
        sections.append(Section(f"By {column}", join(*parts, table(heads, rows, _groups_caption())), column))
    if report.similarity:
        caption = "The share of weight that two domains give to the same experts; 100 is all of it."
        shown = drawn("similarity", "similarity of domains", caption)
        sections.append(Section("Domains that the gate treats alike", shown, "similarity"))
    sections.append(Section("Along an utterance", _along(report, drawn), "along"))
    if report.agreement:
        caption = "Each expert decides at its own equal error threshold on these trials."
        body = table(AGREEMENT_HEADS, agreement_rows(report), caption)
        sections.append(Section("Agreement and diversity", body, "agreement"))
    if report.oracle:
        sections.append(Section("How good could gating be?", _oracle(report), "oracle"))
    top = _top(report)
    lead = f"{model} on {data}: {report.trials} trials, {report.windows} windows."
    return page("What the gate chose", sections, lead, top, f"veravox {__version__}")


def _groups_caption() -> str:
    return "Values with spoofed trials only are judged against all bona fide ones."


def _top(report: GateReport) -> Html:
    shown: list[Any] = []
    if report.oracle:
        oracle = report.oracle
        gain = oracle["gain_over_best_expert"]
        points = "–" if gain is None else f"{100 * gain:+.1f} points"
        shown = [
            ("EER of the mixture", percent(oracle["mixture"]), ""),
            ("EER of the best expert", percent(oracle["best_expert_eer"]), oracle["best_expert"]),
            ("Gain over it", points, "positive: the mixture errs less"),
            ("EER of the oracle gate", percent(oracle["oracle"]), "it knows the answer"),
        ]
    missing = f"{len(report.failures)} trials could not be read: " + "; ".join(
        f"{one['utterance_id']} ({one['error']})" for one in report.failures[:5]
    )
    return join(cards(shown), notice(missing)) if report.failures else cards(shown)


def _experts(report: GateReport) -> Html:
    rows = [
        [
            name,
            f"{one['expert']} on {one['front_end']}",
            percent(one["weight"]),
            percent(one["eer"]),
            Cell(one["hears"], "wrap"),
            Cell(one["listens"], "wrap"),
        ]
        for name, one in report.experts.items()
    ]
    return table(["expert", "is", "mean weight", "EER", "can hear", "notices"], rows)


def _along(report: GateReport, drawn: Any) -> Html:
    if report.along is None or report.spread is None:
        return paragraph("No trial has two windows or more, so there is nothing to compare.", "soft")
    caption = "Mean weights in each tenth of the utterances of two windows or more."
    within = ", ".join(
        f"{name} {100 * value:.1f}" for name, value in zip(report.names, report.spread, strict=True)
    )
    said = paragraph(f"Mean deviation of a weight within one utterance, in points: {within}.")
    return join(drawn("along", "gate weights along an utterance", caption), said)


def _oracle(report: GateReport) -> Html:
    oracle = report.oracle or {}
    said = paragraph(
        "The oracle gate takes, for each trial, the expert that is most right; no such gate can do better. "
        "The best expert of each domain is what a perfect knowledge of the domain would give."
    )
    share = oracle["share_of_possible_gain"]
    rest = paragraph(f"The mixture has {percent(share, 0)} of the gain that is possible over the best expert.")
    shown = table(["system", "EER"], oracle_rows(report))
    return join(said, shown, rest) if share is not None else join(said, shown)


def write_gates(report: GateReport, out: Path, model: str, data: str) -> Path:
    """Write `gates.html`, `gates.json` and the pictures into a folder; gives the page's path."""
    out.mkdir(parents=True, exist_ok=True)
    for name, png in pictures_of(report).items():
        write_bytes(out / f"{name}.png", png)
    write_json(out / "gates.json", report.to_dict() | {"model": model, "data": data})
    write_text(out / "gates.html", html_page(report, model, data))
    return out / "gates.html"
