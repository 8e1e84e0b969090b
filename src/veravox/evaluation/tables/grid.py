"""A table to read: the same cells as terminal rows, Markdown, CSV, LaTeX, JSON and HTML."""

from __future__ import annotations

import csv
import io
import json
import os
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from veravox import pages
from veravox.errors import EvaluationError

BEST, SECOND = 1, 2
FORMS = {"markdown": ".md", "csv": ".csv", "latex": ".tex", "json": ".json"}
_KINDS = {BEST: "best", SECOND: "second"}
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "–": "--",
    "−": "$-$",
}


@dataclass(frozen=True)
class GridCell:
    """What one cell shows: one piece, or several joined by ` / ` (an EER and its AUC, two variants of one system).

    Args:
        text: of the first piece.
        value: that it is ranked by, if any.
        rank: in its column: `BEST`, `SECOND` or 0.
        more: further pieces.
        runs: the values that it is the mean of.
        name: of the piece, where a cell has several.
    """

    text: str
    value: float | None = None
    rank: int = 0
    more: tuple[GridCell, ...] = ()
    runs: tuple[float, ...] = ()
    name: str = ""

    @property
    def pieces(self) -> tuple[GridCell, ...]:
        """Every piece, each without further ones."""
        return (replace(self, more=()), *self.more)

    @classmethod
    def join(cls, pieces: Sequence[GridCell]) -> GridCell:
        """Several pieces as one cell."""
        return replace(pieces[0], more=tuple(pieces[1:]))

    def shown(self, mark: Callable[[GridCell], str]) -> str:
        """All pieces, each through a function that marks its rank."""
        return " / ".join(mark(piece) for piece in self.pieces)


@dataclass(frozen=True)
class Grid:
    """Columns and rows of cells; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[GridCell, ...], ...]
    caption: str = ""

    @classmethod
    def of(cls, columns: Sequence[str], rows: Iterable[Sequence[GridCell | str]], caption: str = "") -> Grid:
        """A grid from rows of cells or plain text."""
        made = tuple(tuple(cell if isinstance(cell, GridCell) else GridCell(cell) for cell in row) for row in rows)
        return cls(tuple(columns), made, caption)

    def texts(self) -> list[list[str]]:
        """The rows as plain text."""
        return [[cell.shown(lambda piece: piece.text) for cell in row] for row in self.rows]

    def ranked(self, lower_is_better: Callable[[int], bool | None], together: bool = False) -> Grid:
        """The best and the second of each column marked; equal values share their mark.

        Args:
            lower_is_better: from the position of a piece in its cell to which way is up; None leaves it unmarked.
            together: rank all pieces of a column as one list, not each position by itself.
        """
        columns = [list(column) for column in zip(*self.rows, strict=True)]
        for column in columns:
            positions = range(max(len(cell.pieces) for cell in column))
            groups = [tuple(positions)] if together else [(position,) for position in positions]
            for group in groups:
                column[:] = _marked(column, group, lower_is_better(group[0]))
        return replace(self, rows=tuple(zip(*columns, strict=True)) if columns else ())

    def transposed(self) -> Grid:
        """Rows as columns; the marks stay."""
        head = [self.columns[0], *(row[0].text for row in self.rows)]
        rows = [
            [GridCell(name), *(row[index + 1] for row in self.rows)] for index, name in enumerate(self.columns[1:])
        ]
        return Grid.of(head, rows, self.caption)

    def markdown(self) -> str:
        """As Markdown: best bold, second underlined."""
        marks = {0: "{}", BEST: "**{}**", SECOND: "<u>{}</u>"}

        def line(cells: Iterable[str]) -> str:
            return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

        rule = "|" + "|".join(" --- " if index == 0 else " ---: " for index in range(len(self.columns))) + "|"
        body = [
            line(cell.shown(lambda piece: marks[piece.rank].format(piece.text)) for cell in row)
            for row in self.rows
        ]
        title = [f"{self.caption}\n"] if self.caption else []
        return "\n".join([*title, line(self.columns), rule, *body]) + "\n"

    def csv(self) -> str:
        """As comma-separated values, without marks."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.texts())
        return text.getvalue()

    def latex(self) -> str:
        """As a LaTeX table for booktabs: best bold, second underlined."""
        marks = {0: "{}", BEST: r"\textbf{{{}}}", SECOND: r"\underline{{{}}}"}
        head = " & ".join(map(latex_text, self.columns))
        body = [
            " & ".join(c.shown(lambda piece: marks[piece.rank].format(latex_text(piece.text))) for c in row)
            + r" \\"
            for row in self.rows
        ]
        caption = [rf"\caption{{{latex_text(self.caption)}}}"] if self.caption else []
        return (
            "\n".join(
                [
                    "% needs \\usepackage{booktabs}",
                    r"\begin{table}",
                    r"\centering",
                    *caption,
                    rf"\begin{{tabular}}{{l{'r' * (len(self.columns) - 1)}}}",
                    r"\toprule",
                    head + r" \\",
                    r"\midrule",
                    *body,
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                ]
            )
            + "\n"
        )

    def json(self) -> str:
        """As JSON: of every piece its text, mean, standard deviation (null of a single run) and all values."""
        rows = [
            {
                self.columns[0]: row[0].text,
                "cells": {
                    column: [_plain_piece(piece) for piece in cell.pieces]
                    for column, cell in zip(self.columns[1:], row[1:], strict=True)
                },
            }
            for row in self.rows
        ]
        content = {"schema": 1, "caption": self.caption, "columns": list(self.columns), "rows": rows}
        return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"

    def html(self) -> pages.Html:
        """As a table of the house's pages."""
        rows = [[_html_cell(cell) for cell in row] for row in self.rows]
        return pages.table(self.columns, rows, self.caption)

    def written(self, form: str) -> str:
        """In one of the `FORMS`."""
        return {"markdown": self.markdown, "csv": self.csv, "latex": self.latex, "json": self.json}[form]()


def form_of(path: str | os.PathLike[str]) -> str:
    """The form that the ending of a file asks for.

    Raises:
        EvaluationError: for another ending.
    """
    suffix = Path(path).suffix.lower()
    for form, ending in FORMS.items():
        if suffix == ending:
            return form
    raise EvaluationError(f"cannot write a table to {str(path)!r}: the ending must be {', '.join(FORMS.values())}")


def _marked(cells: list[GridCell], positions: Sequence[int], lower_is_better: bool | None) -> list[GridCell]:
    """One column with the pieces at these positions ranked."""
    if lower_is_better is None:
        return cells
    wanted = [piece.value for cell in cells for at, piece in enumerate(cell.pieces) if at in positions]
    order = sorted({value for value in wanted if value is not None}, reverse=not lower_is_better)[:2]
    if len([value for value in wanted if value is not None]) < 2:
        return cells

    def marked(piece: GridCell, position: int) -> GridCell:
        ranks = position in positions and piece.value in order
        return replace(piece, rank=order.index(piece.value) + 1) if ranks else piece  # type: ignore[arg-type]

    return [GridCell.join([marked(piece, at) for at, piece in enumerate(cell.pieces)]) for cell in cells]


def _plain_piece(piece: GridCell) -> dict[str, Any]:
    deviation = statistics.stdev(piece.runs) if len(piece.runs) > 1 else None
    found = {"text": piece.text, "mean": piece.value, "deviation": deviation, "runs": list(piece.runs)}
    return found | ({"name": piece.name} if piece.name else {})


def _html_cell(cell: GridCell) -> pages.Cell:
    if not cell.more:
        return pages.Cell(cell.text, _KINDS.get(cell.rank, ""))

    def span(piece: GridCell) -> str:
        kind = _KINDS.get(piece.rank, "")
        return f'<span class="{kind}">{pages.escape(piece.text)}</span>' if kind else pages.escape(piece.text)

    return pages.Cell(pages.Html(cell.shown(span)), "")


def latex_text(text: str) -> str:
    """Text with what LaTeX would take as commands escaped."""
    return "".join(_LATEX.get(character, character) for character in text)
