"""A table to read: the same cells as terminal rows, Markdown, CSV, LaTeX and HTML."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from veravox import pages

BEST, SECOND = 1, 2
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
    """What one cell shows, the number it is ranked by, and its rank in its column (0 for none)."""

    text: str
    value: float | None = None
    rank: int = 0


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
        return [[cell.text for cell in row] for row in self.rows]

    def ranked(self, lower_is_better: Callable[[int], bool | None]) -> Grid:
        """The best and the second of each column marked; equal values share their mark.

        Args:
            lower_is_better: from the position of a column to which way is up, or None to leave it unmarked.
        """
        rows = [list(row) for row in self.rows]
        for column in range(len(self.columns)):
            way = lower_is_better(column)
            values = {row[column].value for row in rows} - {None}
            if way is None or len(rows) < 2:
                continue
            order = sorted((value for value in values if value is not None), reverse=not way)
            for row in rows:
                if row[column].value in order[:2]:
                    row[column] = replace(row[column], rank=order.index(row[column].value) + 1)  # type: ignore[arg-type]
        return replace(self, rows=tuple(map(tuple, rows)))

    def markdown(self) -> str:
        """As Markdown: best bold, second underlined."""
        marks = {0: "{}", BEST: "**{}**", SECOND: "<u>{}</u>"}

        def line(cells: Iterable[str]) -> str:
            return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

        rule = "|" + "|".join(" --- " if index == 0 else " ---: " for index in range(len(self.columns))) + "|"
        body = [line(marks[cell.rank].format(cell.text) for cell in row) for row in self.rows]
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
        body = [" & ".join(marks[c.rank].format(latex_text(c.text)) for c in row) + r" \\" for row in self.rows]
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

    def html(self) -> pages.Html:
        """As a table of the house's pages."""
        rows = [[pages.Cell(cell.text, _KINDS.get(cell.rank, "")) for cell in row] for row in self.rows]
        return pages.table(self.columns, rows, self.caption)

    def written(self, form: str) -> str:
        """In one of the forms `markdown`, `csv`, `latex`."""
        return {"markdown": self.markdown, "csv": self.csv, "latex": self.latex}[form]()


def latex_text(text: str) -> str:
    """Text with what LaTeX would take as commands escaped."""
    return "".join(_LATEX.get(character, character) for character in text)
