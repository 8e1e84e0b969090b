"""`veravox fuse`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veravox.apps.arguments import Json, Quiet


def command(
    files: Annotated[
        list[Path], typer.Argument(help="Scores of two or more systems, then the protocol (not with --apply).")
    ],
    out: Annotated[Path, typer.Option(help="FUSION.json of the fit; or the fused scores (.csv, .parquet).")],
    apply: Annotated[Path | None, typer.Option(help="A fusion fitted before: fuse these scores with it.")] = None,
    cross_validate: Annotated[
        int,
        typer.Option(help="Folds: write fused scores of these very trials, each by weights without it.", min=0),
    ] = 0,
    cluster: Annotated[str | None, typer.Option(help="Keep values of this column in one fold.")] = None,
    prior: Annotated[float, typer.Option(help="Of spoof.")] = 0.5,
    polarity: Annotated[
        list[str] | None, typer.Option(help="Of foreign files: one for all, or one for each in order.")
    ] = None,
    score_column: Annotated[
        list[str] | None, typer.Option(help="Foreign files: score column, one for all or one for each in order.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fuse several systems into one score, fitted on one protocol and applied to another."""
    from veravox.apps import show
    from veravox.errors import EvaluationError
    from veravox.evaluation import Fusion, cross_fuse, fit_fusion, read_key, read_scores
    from veravox.files import refuse_inputs

    refuse_inputs(out, [*files, *([apply] if apply else [])])
    inputs = files if apply else files[:-1]
    each = []
    for option, values in (("--polarity", polarity), ("--score-column", score_column)):
        given = list(values or [None])  # type: ignore[list-item]
        if len(given) not in (1, len(inputs)):
            raise EvaluationError(f"give {option} once, or once for each of the {len(inputs)} score files")
        each.append(given * len(inputs) if len(given) == 1 else given)
    systems = [read_scores(path, sign, None, column) for path, sign, column in zip(inputs, *each, strict=True)]
    if apply:
        Fusion.read(apply).apply(systems).write(out)
        show.note(f"fused scores (log-likelihood ratios) written to {out}", quiet)
        return
    key = read_key(files[-1])
    if cross_validate:
        cross_fuse(systems, key, cross_validate, prior, cluster).write(out)
        show.note(f"cross-validated fused scores (log-likelihood ratios) written to {out}", quiet)
        return
    if out.suffix.lower() != ".json":
        raise EvaluationError(
            "fused scores of the very trials of the fit would flatter it: write the fit (--out FUSION.json) and "
            "--apply it to other trials, or --cross-validate 5"
        )
    fusion = fit_fusion(systems, key, prior)
    fusion.write(out)
    if as_json:
        show.print_json({"inputs": fusion.inputs, "weights": fusion.weights, "offset": fusion.offset})
        return
    rows = [[name, f"{weight:.6g}"] for name, weight in zip(fusion.inputs, fusion.weights, strict=True)]
    show.print_table(["system", "weight"], [*rows, ["offset", f"{fusion.offset:.6g}"]])
    show.note(f"written to {out}; fuse other scores: veravox fuse ... --apply {out} --out fused.csv", quiet)
