"""`veravox protocol make`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veravox.apps.arguments import Json, Quiet, name_and_value

if TYPE_CHECKING:
    from veravox.corpora.reading.outcome import Reading
    from veravox.tables import Protocol

LISTED = 10


def command(
    corpus: Annotated[str, typer.Argument(help="Name of a corpus, or auto to recognise the layout of ROOT.")],
    root: Annotated[Path, typer.Argument(help="The dataset's folder, as downloaded (for 'table', a file).")],
    out: Annotated[Path, typer.Option("--out", help="The protocol to write: .csv or .parquet.")],
    split: Annotated[str | None, typer.Option(help="Only train, dev or eval.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="An option of the corpus: a companion's folder, bona_fide_trials, seed, ...; repeatable.",
        ),
    ] = None,
    scan: Annotated[bool, typer.Option(help="Open every recording; kept in OUT.scan.parquet.")] = False,
    keys_only: Annotated[bool, typer.Option("--keys-only", help="Missing audio is not a failure.")] = False,
    drop_failed: Annotated[
        bool, typer.Option("--drop-failed", help="Leave out trials whose audio is missing or unreadable.")
    ] = False,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one per core by default.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read a dataset as downloaded into a protocol; compare its counts with the published ones.

    What is missing, unreadable or no trial is listed in OUT.problems.csv. Exit code 1 if audio of a trial is
    missing or cannot be read.
    """
    from veravox.apps import show
    from veravox.corpora.reading.corpus import describe_difference, read_corpus
    from veravox.corpora.reading.scanned import scanned, write_problems
    from veravox.files import refuse_inputs

    refuse_inputs(out, [root])
    reading = read_corpus(corpus, root, split, _options(corpus, settings or []))
    if keys_only:
        reading = reading.for_keys_only()
    protocol = reading.protocol
    unreadable: list[dict[str, str]] = []
    if scan:
        cache = out.with_suffix(".scan.parquet")
        with show.progress("scanning", len(protocol), quiet) as advance:
            protocol, unreadable = scanned(reading, cache, workers, advance)
    if drop_failed:
        failed = {item["path"] for item in unreadable} | set(reading.missing)
        protocol = protocol.with_frame(protocol.frame.filter(~protocol.frame["path"].is_in(list(failed))))
    protocol.write(out)
    problems = write_problems(out, reading, unreadable)
    if as_json:
        show.print_json(_as_dict(reading, protocol, unreadable, out, problems))
    else:
        _print(reading, protocol, out)
    for note in reading.notes:
        show.warn(show.printable(note))
    for count in reading.differences:
        show.warn("counts differ: " + show.printable(describe_difference(count, reading)))
    for item in unreadable[:LISTED]:
        show.warn("unreadable: " + show.printable(item["error"]))
    if problems:
        show.say(f"all of it is listed in {problems}", quiet)
    if unreadable or reading.missing:
        raise typer.Exit(1)


def _options(corpus: str, settings: list[str]) -> dict[str, Any]:
    """`NAME=VALUE` as written in YAML; text where the corpus wants text (`bona_fide=1`)."""
    import typing

    import yaml

    from veravox.corpora import CORPORA
    from veravox.registry import accepts

    hints = {} if corpus == "auto" else typing.get_type_hints(CORPORA[corpus])
    options: dict[str, Any] = {}
    for setting in settings:
        name, text = name_and_value(setting, "--set")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        hint = hints.get(name, Any)
        options[name] = text if accepts(hint, text) and not accepts(hint, value) else value
    return options


def _print(reading: Reading, protocol: Protocol, out: Path) -> None:
    from veravox.apps import show

    print(f"{reading.corpus}, recognised by {show.printable(reading.recognised_by)}")
    rows = [[count.part, count.kind, count.found, count.published, count.difference] for count in reading.counts]
    if rows:
        show.print_table(("part", "kind", "found", "published", "difference"), rows)
    for part in reading.absent:
        print(f"{part}: published, and not here")
    if not rows and not reading.absent:
        print("no published counts to compare with")
    print(f"{out}: {len(protocol)} trials")


def _as_dict(
    reading: Reading, protocol: Protocol, unreadable: list[dict[str, str]], out: Path, problems: Path | None
) -> dict[str, Any]:
    return {
        "schema": 1,
        "corpus": reading.corpus,
        "recognised_by": reading.recognised_by,
        "out": str(out),
        "trials": len(protocol),
        "counts": [
            {"part": count.part, "kind": count.kind, "found": count.found, "published": count.published}
            for count in reading.counts
        ],
        "absent": reading.absent,
        "missing": reading.missing,
        "extra": reading.extra,
        "unreadable": unreadable,
        "notes": reading.notes,
        "problems": str(problems) if problems else None,
    }
