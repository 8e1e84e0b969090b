"""An evaluation as a folder: one self-contained page, PNG, JSON, Markdown and LaTeX."""

from __future__ import annotations

import os
from pathlib import Path

from veravox import __version__, pages
from veravox.evaluation.comparison import Comparison
from veravox.evaluation.results import Evaluation
from veravox.evaluation.tables.plots import group_picture, pictures_of
from veravox.evaluation.tables.summary import grids_of, remarks, show_interval, show_value, title_of
from veravox.files import write_bytes, write_json, write_text

CARDS = ("eer", "auc", "min_dcf", "act_dcf", "cllr", "balanced_accuracy", "tpr", "tnr", "min_tdcf")


def write_report(
    evaluation: Evaluation, folder: str | os.PathLike[str], comparison: Comparison | None = None
) -> Path:
    """Write `index.html`, `report.md`, `report.tex`, `report.json` and the pictures; gives the path of the page.

    Raises:
        OutputError: if the folder cannot be written.
    """
    target = Path(folder)
    light, dark = pictures_of(evaluation), pictures_of(evaluation, dark=True)
    for name, (_, png) in light.items():
        write_bytes(target / f"{name}.png", png)
    content = evaluation.to_dict() | ({"comparison": comparison.to_dict()} if comparison else {})
    write_json(target / "report.json", content)
    write_text(target / "report.md", as_markdown(evaluation, comparison, light))
    write_text(target / "report.tex", "\n".join(grid.latex() for _, grid in grids_of(evaluation)))
    write_text(target / "index.html", as_page(evaluation, comparison, light, dark))
    return target / "index.html"


def _lead(evaluation: Evaluation) -> str:
    whole = evaluation.whole
    return (
        f"{whole.bona_fide + whole.spoof} trials: {whole.bona_fide} bona fide, {whole.spoof} spoofed. "
        "Scores: higher is more bona fide."
    )


def as_markdown(
    evaluation: Evaluation, comparison: Comparison | None, pictures: dict[str, tuple[str, bytes]]
) -> str:
    """The report as Markdown; pictures are those beside it."""
    lines = [f"# Evaluation of {evaluation.name}", "", _lead(evaluation), ""]
    lines += [f"> **Warning:** {warning}\n" for warning in evaluation.warnings]
    if comparison:
        lines += ["## Comparison", "", comparison.conclusion, "", comparison.mcnemar_sentence, ""]
    for heading, grid in grids_of(evaluation):
        lines += [f"## {heading}", "", grid.markdown()]
    lines += [f"![{title}]({name}.png)\n" for name, (title, _) in pictures.items()]
    lines += ["## How to read it", "", *(f"- {remark}" for remark in remarks(evaluation)), ""]
    return "\n".join(lines)


def as_page(
    evaluation: Evaluation,
    comparison: Comparison | None,
    light: dict[str, tuple[str, bytes]],
    dark: dict[str, tuple[str, bytes]],
) -> str:
    """The report as one self-contained page."""
    grids = grids_of(evaluation)
    drawn = {name: pages.picture(png, title, title, dark[name][1]) for name, (title, png) in light.items()}
    curves = pages.side_by_side(
        [drawn[name] for name in ("det", "roc", "histogram", "reliability") if name in drawn]
    )
    sections = []
    if comparison:
        body = pages.join(pages.paragraph(comparison.conclusion), pages.paragraph(comparison.mcnemar_sentence))
        sections.append(pages.Section("Comparison", body, "comparison"))
    sections.append(pages.Section("All trials", grids[0][1].html(), "all"))
    sections.append(pages.Section("Curves", curves, "curves"))
    sets = [*evaluation.groups, *(f"pool {pool.name}" for pool in evaluation.pools)]
    for index, (column, (heading, grid)) in enumerate(zip(sets, grids[1:], strict=True)):
        body = pages.join(drawn.get(group_picture(column), pages.Html("")), grid.html())
        sections.append(pages.Section(heading, body, f"part-{index}"))
    notes = pages.join(*(pages.paragraph(remark) for remark in remarks(evaluation)))
    sections.append(pages.Section("How to read it", notes, "notes"))
    warnings = pages.join(*(pages.notice(warning) for warning in evaluation.warnings))
    return pages.page(
        f"Evaluation of {Path(evaluation.name).name}",
        sections,
        lead=_lead(evaluation),
        top=pages.join(warnings, _cards(evaluation)),
        foot=f"Made by veravox {__version__}. This page loads nothing from elsewhere.",
    )


def _cards(evaluation: Evaluation) -> pages.Html:
    estimates = evaluation.whole.estimates
    with_interval = bool(evaluation.settings["bootstrap"]["rounds"])
    shown = [name for name in CARDS if name in estimates]
    return pages.cards(
        (
            title_of(name),
            show_value(name, estimates[name].value),
            show_interval(name, estimates[name]) if with_interval else "",
        )
        for name in shown
    )
