"""Sharpness and landscapes as one page, with every picture as a PNG beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from veravox import __version__, pages
from veravox.analysis.sharpness import plots
from veravox.analysis.sharpness.landscape import Landscape
from veravox.analysis.sharpness.table import SharpnessTable
from veravox.files import write_bytes, write_text

Draw = Callable[[bool], bytes]


class _Pictures:
    """Draws each picture light and dark, writes it, and gives its markup."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, alt: str, draw: Draw) -> pages.Html:
        light = draw(False)
        write_bytes(self.folder / f"{name}.png", light)
        return pages.picture(light, alt, alt, draw(True))


def write_sharpness_report(
    table: SharpnessTable,
    folder: str | os.PathLike[str],
    landscapes: Sequence[Landscape] = (),
    correlations: Sequence[dict[str, Any]] = (),
    measure: str = "one_step",
) -> Path:
    """Write `index.html`, its PNGs, `sharpness.parquet` and `sharpness.json` into a folder.

    Args:
        landscapes: of one or more models; those with the same directions share their scale.
        correlations: of `correlate`.
        measure: that the pictures of conditions show.
    Returns:
        The page.
    """
    target = Path(folder)
    pictures = _Pictures(target)
    sections = [pages.Section("Sharpness", pages.table(*grid_of(table)), "sharpness")]
    measured = table.frame.filter(pl.col("measure") == measure)
    sections += _conditions(measured, measure, pictures)
    sections += _landscapes(landscapes, pictures)
    sections += _correlations(measured, correlations, measure, pictures)
    table.write(target / "sharpness.parquet")
    table.write(target / "sharpness.json")
    lead = (
        "How much the loss can rise near the detector's weights. Intervals: 95 %, batches drawn anew. "
        "Compare figures of one measure, one rho and one batch size only."
    )
    page = target / "index.html"
    write_text(page, pages.page("Sharpness", sections, lead, foot=f"veravox {__version__}"))
    return page


def grid_of(table: SharpnessTable) -> tuple[list[str], list[list[Any]]]:
    """Column names and rows of text, for a page or a terminal."""
    columns = ["model", "protocol", "condition", "measure", "rho", "value", "95 %", "EER, %", "trials"]
    rows = []
    for row in table.frame.iter_rows(named=True):
        spread = "" if row["low"] is None else f"{row['low']:.4g} to {row['high']:.4g}"
        eer = "" if row["eer"] is None else f"{100 * row['eer']:.2f}"
        rho = "" if row["rho"] is None else f"{row['rho']:g}"
        where = row["condition"] if row["column"] == "all" else f"{row['column']} {row['condition']}"
        value = f"{row['value']:.4g}"
        rows.append([row["model"], row["protocol"], where, row["measure"], rho, value, spread, eer, row["trials"]])
    return columns, rows


def _conditions(measured: pl.DataFrame, measure: str, pictures: _Pictures) -> list[pages.Section]:
    sections = []
    for number, ((protocol, column), frame) in enumerate(
        measured.group_by(["protocol", "column"], maintain_order=True)
    ):
        if column == "all":
            continue
        drifts = str(column).startswith("drift:")
        draw = plots.draw_drift if drifts else plots.draw_conditions
        name = str(column).removeprefix("drift:")
        alt = f"{protocol}: {'as values of ' + name + ' are added' if drifts else 'by ' + name}"
        shown = pictures.add(
            f"{'drift' if drifts else 'by'}-{number}-{name}",
            alt,
            lambda dark, draw=draw, frame=frame: draw(frame, measure, dark),  # type: ignore[misc]
        )
        sections.append(pages.Section(alt, shown))
    return sections


def _landscapes(landscapes: Sequence[Landscape], pictures: _Pictures) -> list[pages.Section]:
    sections = []
    titles = {"random": "random", "hessian": "Hessian"}
    kinds = dict.fromkeys((landscape.losses.ndim, landscape.directions) for landscape in landscapes)
    for dimensions, directions in kinds:
        alike = [one for one in landscapes if (one.losses.ndim, one.directions) == (dimensions, directions)]
        name = f"landscape-{dimensions}d-{directions}"
        if dimensions == 1:
            alt = f"loss along one {titles[directions]} direction, on one scale"
            body = pictures.add(name, alt, lambda dark, alike=alike: plots.draw_lines(alike, dark))  # type: ignore[misc]
        else:
            shown = [
                pictures.add(
                    f"{name}-{index}",
                    f"{one.model}: loss over two {titles[directions]} directions, one scale for all",
                    lambda dark, alike=alike, index=index: plots.draw_square(alike, index, dark),  # type: ignore[misc]
                )
                for index, one in enumerate(alike)
            ]
            body = pages.side_by_side(shown)
        values = "; ".join(
            f"{one.model}: {', '.join(f'{v:.4g}' for v in one.eigenvalues)}" for one in alike if one.eigenvalues
        )
        scale = "filter by filter, as far as they are long" if directions == "random" else "a tenth of that"
        text = f"At 0 the weights are as trained; at 1 they have moved {scale}."
        note = pages.paragraph(f"{text} Largest Hessian eigenvalues: {values}." if values else text, "soft")
        sections.append(pages.Section(f"Landscape, {dimensions}-D, {titles[directions]}", pages.join(body, note)))
    return sections


def _correlations(
    measured: pl.DataFrame, correlations: Sequence[dict[str, Any]], measure: str, pictures: _Pictures
) -> list[pages.Section]:
    if not correlations:
        return []
    parts, rows = [], []
    for number, row in enumerate(correlations):
        here = measured.filter(
            (pl.col("protocol") == row["protocol"]) & (pl.col("column") == "all") & pl.col("eer").is_not_null()
        )
        alt = f"{row['protocol']}: sharpness against EER, {row['models']} models"
        draw = lambda dark, here=here, row=row: plots.draw_correlation(here, measure, row, dark)  # noqa: E731
        parts.append(pictures.add(f"correlation-{number}", alt, draw))
        rows.append([row["protocol"], row["models"], *(_coefficient(row, name) for name in _NAMES)])
    grid = pages.table(["protocol", "models", *_NAMES], rows)
    return [pages.Section("Sharpness and error rate", pages.join(grid, pages.side_by_side(parts)), "correlation")]


_NAMES = ("pearson", "spearman", "kendall")


def _coefficient(row: dict[str, Any], name: str) -> str:
    if row[name] is None:
        return "–"
    spread = "" if row[f"{name}_low"] is None else f" ({row[f'{name}_low']:.2f} to {row[f'{name}_high']:.2f})"
    return f"{row[name]:.2f}{spread}"
