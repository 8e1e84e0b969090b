"""`veravox gates`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from veravox.analysis.gates.analyse import GateReport


def command(
    model: Annotated[str, typer.Argument(help="Bundled name, path or hub id of a mixture.")],
    protocol: Annotated[Path, typer.Argument(help="Trials with paths; with labels, error figures too.")],
    by: Annotated[
        list[str] | None,
        typer.Option(help="Columns to gather by. Repeatable. [domain, attack_id, codec, language where given]"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for gates.html, gates.json and heat maps.")] = None,
    policy: Annotated[str, typer.Option(help="Windows of an utterance: sliding, first or middle.")] = "sliding",
    hop_s: Annotated[float | None, typer.Option(help="Hop of the sliding policy [whole windows].")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows at a time.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="JSON for machines.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """What a mixture's gate chose, per domain, attack, codec and language, and how good gating could be."""
    from veravox.analysis.gates.analyse import analyse_gate
    from veravox.analysis.gates.page import write_gates
    from veravox.apps import show
    from veravox.scoring.detector import detector_policy, load_detector
    from veravox.tables import read_protocol

    trials = read_protocol(protocol)
    checkpoint = load_detector(model, device)
    windows = detector_policy(checkpoint, policy, hop_s)
    with show.progress("weighing", len(trials), quiet) as advance:
        report = analyse_gate(checkpoint, trials, windows, by, workers, batch_size, advance)
    for failure in report.failures:
        show.warn(f"{failure['utterance_id']}: {failure['error']}")
    if out is not None:
        show.say(f"report: {write_gates(report, out, model, protocol.name)}", quiet)
    if as_json:
        show.print_json(report.to_dict())
    else:
        _print(report)
    if report.failures:
        raise typer.Exit(1)


def _print(report: GateReport) -> None:
    from veravox.analysis.gates.page import AGREEMENT_HEADS, agreement_rows, oracle_rows, weight_rows
    from veravox.apps import show

    for column in report.groups:
        show.print_table(*weight_rows(report, column), f"Mean gate weights and EER by {column}")
        print()
    if report.agreement:
        show.print_table(AGREEMENT_HEADS, agreement_rows(report), "Agreement of experts")
        print()
    if report.oracle:
        show.print_table(["system", "EER"], oracle_rows(report), "How good could gating be?")
        print()
    for remark in report.remarks():
        print(remark)
