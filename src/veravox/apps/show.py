"""What every command shows alike: tables and JSON on stdout, progress and warnings on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

PLAIN_LINE_EVERY_S = 10.0


def warn(message: str) -> None:
    """One warning line on stderr."""
    print(f"veravox: warning: {message}", file=sys.stderr, flush=True)


def say(message: str, quiet: bool = False) -> None:
    """One line about the work on stderr, unless quiet."""
    if not quiet:
        print(message, file=sys.stderr, flush=True)


def note(message: str, quiet: bool = False) -> None:
    """One line on stdout below a result, unless quiet."""
    if not quiet:
        print(message)


def print_json(content: Any, indent: int | None = 2) -> None:
    """JSON on stdout; a number that is not finite is our own mistake."""
    print(json.dumps(content, indent=indent, allow_nan=False))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """A table on stdout: coloured and fitted on a terminal, plain and uncut elsewhere.

    Columns whose cells are all numbers (or end in %) are right-aligned.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, width=None if terminal else 10_000, no_color=None if terminal else True)
    if title:
        console.print(Text(title))  # a title of the table itself would be folded to the table's width
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
    for index, column in enumerate(columns):
        numeric = all(_is_number(row[index]) for row in rows)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
    console.print(table)


def _is_number(cell: Any) -> bool:
    if cell is None or isinstance(cell, int | float):
        return True
    try:
        float(str(cell).strip().rstrip("%").strip() or 0)
    except ValueError:
        return False
    return True


def printable(text: str) -> str:
    """Text with control characters and undecodable bytes escaped, so that a file name stays one line."""
    shown = os.fsencode(text).decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in shown)


@contextmanager
def progress(what: str, total: int | None, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Yield a function that advances a progress bar on stderr by a number of steps.

    A bar on a terminal, a plain line every ten seconds elsewhere, nothing if quiet.
    """
    if quiet:
        yield lambda steps: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda steps: bar.advance(task, steps)
    else:
        yield _plain_progress(what, total)


def _plain_progress(what: str, total: int | None) -> Callable[[int], None]:
    state = {"done": 0, "said": time.monotonic()}

    def advance(steps: int) -> None:
        state["done"] += steps
        if time.monotonic() - state["said"] >= PLAIN_LINE_EVERY_S:
            state["said"] = time.monotonic()
            of = f" of {total}" if total is not None else ""
            print(f"{what}: {state['done']}{of}", file=sys.stderr, flush=True)

    return advance
