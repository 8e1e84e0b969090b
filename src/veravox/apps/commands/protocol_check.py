"""`veravox protocol check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from veravox.apps.arguments import Json, Limit, Quiet

if TYPE_CHECKING:
    from veravox.corpora.checking.findings import Report


def command(
    protocols: Annotated[list[Path], typer.Argument(metavar="PROTOCOL...", help="One or more .csv or .parquet.")],
    audio: Annotated[bool, typer.Option(help="Open every recording.")] = True,
    near: Annotated[bool, typer.Option(help="Look for near-duplicates by audio fingerprint.")] = True,
    allow: Annotated[
        list[str] | None, typer.Option(metavar="KIND", help="A kind of finding that is no fault here; repeatable.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where the scan is kept, to go on from; a .parquet file.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
    short_s: Annotated[float, typer.Option("--short-s", help="Shorter recordings are remarked on.")] = 0.5,
    as_json: Json = False,
    limit: Limit = None,
    quiet: Quiet = False,
) -> None:
    """Schema, duplicates, label balance, leaks between sets, and recordings that will not do.

    A set is a protocol's split; several protocols are held against each other. Exit code 1 if there is a fault:
    schema, label-conflict, unreadable, silent, duplicate, audio, near-duplicate, utterance, pair, speaker, text,
    source, generator. Remarks (short, near-copy, one-sided, balance, unknown) are no faults.
    """
    from veravox.apps import show
    from veravox.corpora.checking.check import check, read_all
    from veravox.corpora.checking.findings import KINDS, Report
    from veravox.errors import ConfigurationError, suggest

    allowed = [kind for given in allow or [] for kind in given.split(",")]
    for kind in allowed:
        if kind not in KINDS:
            raise ConfigurationError(f"unknown kind of finding {kind!r}; {suggest(kind, KINDS)}")
    read, wrong = read_all(protocols)
    kept = cache or _cache_beside(protocols)
    report = Report([], wrong)
    if read:
        with show.progress("scanning", sum(map(len, read)) if audio else 0, quiet or not audio) as advance:
            found = check(read, audio, near, kept, workers, short_s, advance)
        report = Report(found.sets, [*wrong, *found.findings], found.audio)
    if as_json:
        show.print_json(report.to_dict(allowed))
    else:
        _print(report, allowed)
    if report.faults(allowed):
        raise typer.Exit(1)


def _cache_beside(protocols: list[Path]) -> Path | None:
    """The scan that `protocol make --scan` left beside the first protocol."""
    beside = protocols[0].with_suffix(".scan.parquet")
    return beside if beside.exists() else None


def _print(report: Report, allowed: list[str]) -> None:
    from veravox.apps import show
    from veravox.corpora.checking.findings import KINDS

    if report.sets:
        columns = list(report.sets[0])
        show.print_table(columns, [[row.get(column) for column in columns] for row in report.sets])
    for finding in report.findings:
        word = "FAULT" if finding in report.faults(allowed) else "allowed" if finding.fault else "remark"
        print(f"{word}: {KINDS[finding.kind]} ({finding.kind}): {show.printable(finding.message)}")
    faults = report.faults(allowed)
    others = len(report.findings) - len(faults)
    unopened = "" if report.audio else "; audio was not opened"
    print(f"{_count(len(faults), 'fault')}, {_count(others, 'remark')}{unopened}")
    by_design = sorted({finding.kind for finding in faults} & BY_DESIGN)
    if by_design:
        print(f"where that is by design: {' '.join(f'--allow {kind}' for kind in by_design)}")


BY_DESIGN = {"speaker", "text", "source", "generator", "duplicate", "pair"}
"""Faults that some protocols have on purpose."""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
