"""`veravox evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Scores, as veravox writes them, or foreign ones with --polarity; then a protocol with labels, "
            "or a key of ASVspoof or In-the-Wild. Several files of scores (NAME:PATH): their table --by a column.",
            metavar="SCORES... PROTOCOL",
        ),
    ],
    by: Annotated[list[str] | None, typer.Option(help="Group by a column; `a,b` crosses two. Repeatable.")] = None,
    pool: Annotated[
        list[str] | None, typer.Option(help="NAME=a,b,c: datasets under one name, macro and pooled. Repeatable.")
    ] = None,
    pool_column: Annotated[str, typer.Option(help="The column that tells the dataset.")] = "domain",
    against: Annotated[
        str,
        typer.Option(help="Bona fide side of an attack: `all`, or those of the same COLUMN (such as domain)."),
    ] = "all",
    metric: Annotated[list[str] | None, typer.Option(help="Only these figures. Repeatable.")] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="Operating point: eer, stored, bayes, min-dcf, miss=X, false-alarm=X, or a number. Repeatable."
        ),
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="COLUMN=VALUE: only these trials of the protocol. Repeatable.")
    ] = None,
    bootstrap: Annotated[int, typer.Option(help="Rounds for the intervals; 0 for none.", min=0)] = 0,
    cluster: Annotated[str | None, typer.Option(help="Resample values of this column, e.g. speaker_id.")] = None,
    confidence: Annotated[float, typer.Option(help="Of the intervals.", min=0.5, max=0.999)] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the resampling.", min=0)] = 0,
    compare: Annotated[Path | None, typer.Option(help="Scores of another system on the same trials.")] = None,
    compare_metric: Annotated[str, typer.Option(help="The figure to compare by.")] = "eer",
    compare_polarity: Annotated[
        str | None, typer.Option(help="Polarity of the other file, if it differs.")
    ] = None,
    compare_score_column: Annotated[str | None, typer.Option(help="Score column of the other file.")] = None,
    polarity: Annotated[
        str | None, typer.Option(help="Of a foreign file: higher-is-bonafide or higher-is-spoof; never guessed.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Foreign file: name or number of the id column.")] = None,
    score_column: Annotated[str | None, typer.Option(help="Foreign file: name or number of the score.")] = None,
    calibration: Annotated[Path | None, typer.Option(help="Made by `veravox calibrate` on other trials.")] = None,
    fuse_with: Annotated[
        list[Path] | None, typer.Option(help="With a fusion as --calibration: its other score files, in order.")
    ] = None,
    cross_validate: Annotated[
        int,
        typer.Option(help="Folds of a calibration on these very trials; each judged by a fit without it.", min=0),
    ] = 0,
    llr: Annotated[bool, typer.Option("--llr", help="The scores are log-likelihood ratios already.")] = False,
    asv_scores: Annotated[
        Path | None, typer.Option(help="Speaker verification scores, for t-DCF and t-EER.")
    ] = None,
    asv_point: Annotated[
        str, typer.Option(help="Where the t-DCF holds the ASV: at its EER, counted or official (as ASVspoof).")
    ] = "counted",
    joint_scores: Annotated[
        Path | None, typer.Option(help="Joint scores (target, nontarget, spoof) of the whole system, for a-DCF.")
    ] = None,
    segments: Annotated[
        Path | None, typer.Option(help="What is spoof inside each utterance: EER over segments and over time.")
    ] = None,
    windows: Annotated[
        Path | None, typer.Option(help="Window scores for --segments; NAME.windows.csv beside the scores if none.")
    ] = None,
    resolution: Annotated[float, typer.Option(help="Length of a segment in seconds.")] = 0.16,
    p_spoof: Annotated[float, typer.Option(help="Prior of spoof in the DCF.")] = 0.05,
    cost_miss: Annotated[float, typer.Option(help="Cost of calling bona fide spoof.")] = 1.0,
    cost_false_alarm: Annotated[float, typer.Option(help="Cost of calling spoof bona fide.")] = 10.0,
    eer_form: Annotated[str, typer.Option(help="nearest (as challenges print it) or interpolated.")] = "nearest",
    digits: Annotated[
        int, typer.Option(help="Decimals of percentages of all trials; costs get two more.", min=0)
    ] = 4,
    report: Annotated[Path | None, typer.Option(help="Folder for HTML, PNG, JSON, Markdown and LaTeX.")] = None,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress on stderr.")] = False,
) -> None:
    """Figures of a score file: EER, AUC, DCF, Cllr, accuracy, t-DCF, by group and pool, with intervals."""
    from veravox.apps import show
    from veravox.errors import EvaluationError
    from veravox.evaluation import (
        DetectionCost,
        FittedCalibration,
        Fusion,
        MetricSettings,
        Run,
        accuracy_grid,
        compare_scores,
        evaluate,
        is_fusion,
        phases_of,
        pools_from_text,
        read_asv_scores,
        read_key,
        read_scores,
        restrict,
        with_windows,
        write_report,
    )
    from veravox.evaluation.tables import summary
    from veravox.tables import Segments

    *systems, protocol = files
    if not systems:
        raise EvaluationError(f"scores and a protocol are needed; got {str(protocol)!r} alone")
    key = read_key(protocol)
    if len(systems) > 1:
        alone = {"--report": report, "--bootstrap": bootstrap, "--compare": compare, "--calibration": calibration}
        wrong = [name for name, value in {**alone, "--segments": segments}.items() if value]
        if wrong or not by:
            what = f"without {', '.join(wrong)}" if wrong else "by a column, e.g. --by degradation"
            raise EvaluationError(f"several files of scores make one table {what}")
        runs = [Run.parse(str(path)) for path in systems]
        named = [run.system for run in runs]
        if len(set(named)) < len(named):
            raise EvaluationError(f"two systems have one name ({', '.join(named)}); write NAME:PATH")
        figures = metric or ["eer"]
        table = accuracy_grid(
            runs, key, by, (at or ["eer"])[0], where or [], polarity, score_column, figures=figures
        ).transposed()
        if json:
            typer.echo(table.written("json"), nl=False)
        else:
            show.print_table(table.columns, table.texts(), table.caption)
        return
    scores = systems[0]
    given = read_scores(scores, polarity, id_column, score_column)
    fitted = None
    if calibration and is_fusion(calibration):
        given = Fusion.read(calibration).apply([given, *(read_scores(path, polarity) for path in fuse_with or [])])
    elif calibration:
        fitted = FittedCalibration.read(calibration)
    if segments:
        given = with_windows(given, windows or scores.with_suffix(f".windows{scores.suffix}"))
    judged, key = restrict(given, key, where or [])
    show.say(f"{len(key)} trials of {protocol}", quiet or json)
    cost = DetectionCost(p_spoof, cost_miss, cost_false_alarm)
    asv = read_asv_scores(asv_scores, phases_of(key)) if asv_scores else None
    with show.progress("bootstrap rounds", bootstrap, quiet or not bootstrap) as advance:
        result = evaluate(
            judged,
            key,
            by=by or [],
            pools=pools_from_text(pool or []),
            pool_column=pool_column,
            against=against,
            metrics=metric,
            at=at or [],
            bootstrap=bootstrap,
            cluster=cluster,
            confidence=confidence,
            seed=seed,
            calibration=fitted,
            cross_validate=cross_validate,
            llr=llr or None,
            cost=cost,
            asv=asv,
            asv_point=asv_point,  # type: ignore[arg-type]
            joint=read_asv_scores(joint_scores, phases_of(key)) if joint_scores else None,
            eer_form=eer_form,  # type: ignore[arg-type]
            segments=Segments.read(segments) if segments else None,
            resolution_s=resolution,
            progress=advance,
        )
    comparison = None
    if compare:
        other = read_scores(compare, compare_polarity or polarity, id_column, compare_score_column)
        rival, _ = restrict(other, read_key(protocol), where or [])
        names = (scores.stem, compare.stem) if scores.stem != compare.stem else (str(scores), str(compare))
        rounds = bootstrap or 1000
        comparison = compare_scores(
            judged,
            rival,
            key,
            compare_metric,
            names,
            cluster,
            rounds,
            confidence,
            seed,
            (fitted, None),
            MetricSettings(cost, asv=asv, eer_form=eer_form, asv_point=asv_point),  # type: ignore[arg-type]
            llr or None,
        )
    for message in result.warnings:
        show.warn(message)
    if report:
        made = write_report(result, report, comparison)
        show.say(f"report: {made}", quiet)
    if json:
        show.print_json(result.to_dict() | ({"comparison": comparison.to_dict()} if comparison else {}))
        return
    for heading, grid in summary.grids_of(result, digits):
        show.print_table(grid.columns, grid.texts(), "\n".join(filter(None, [heading, grid.caption])))
    for line in summary.remarks(result):
        typer.echo(line)
    if comparison:
        typer.echo(f"\n{comparison.conclusion}\n{comparison.mcnemar_sentence}")
