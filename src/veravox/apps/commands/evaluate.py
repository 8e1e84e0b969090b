"""`veravox evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veravox.apps.arguments import Json, Quiet

if TYPE_CHECKING:
    from veravox.evaluation import Comparison, Evaluation, FittedCalibration, MetricSettings
    from veravox.tables import Protocol, Scores

TRIALS, METRICS, COSTS, INTERVALS = "Trials", "Metrics", "Costs of errors (DCF)", "Intervals"
COMPARISON, OTHER_TOOLS, CALIBRATION = "Comparison of two systems", "Score files of other tools", "Calibration"
FURTHER_INPUTS, OUTPUT = "Further inputs", "Output"


def command(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Scores, then a protocol with labels, or a key as ASVspoof or In-the-Wild release it. Several "
            "files of scores (NAME:PATH) make one table --by a column.",
            metavar="SCORES... PROTOCOL",
        ),
    ],
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Only these trials; repeatable.", rich_help_panel=TRIALS),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(help="Group by a column; `a,b` crosses two; repeatable.", rich_help_panel=TRIALS),
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            help="Trials compared with a group of one class: `all` of the other class, or those with the same "
            "value of a column, such as domain.",
            rich_help_panel=TRIALS,
        ),
    ] = "all",
    pool: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=a,b,c",
            help="Datasets under one name, macro and pooled; repeatable.",
            rich_help_panel=TRIALS,
        ),
    ] = None,
    pool_column: Annotated[
        str, typer.Option(help="Column that names the dataset.", rich_help_panel=TRIALS)
    ] = "domain",
    metric: Annotated[
        list[str] | None, typer.Option(help="Only these metrics; repeatable.", rich_help_panel=METRICS)
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(
            help="Operating point: eer, stored, bayes, min-dcf, miss=X, false-alarm=X, or a number; repeatable.",
            rich_help_panel=METRICS,
        ),
    ] = None,
    eer_form: Annotated[
        str,
        typer.Option(help="nearest (as the challenges report it) or interpolated.", rich_help_panel=METRICS),
    ] = "nearest",
    digits: Annotated[
        int,
        typer.Option(
            min=0, help="Decimals of percentages over all trials; costs get two more.", rich_help_panel=METRICS
        ),
    ] = 4,
    p_spoof: Annotated[float, typer.Option(help="Prior probability of spoof.", rich_help_panel=COSTS)] = 0.05,
    cost_miss: Annotated[float, typer.Option(help="Cost of rejecting bona fide.", rich_help_panel=COSTS)] = 1.0,
    cost_false_alarm: Annotated[
        float, typer.Option(help="Cost of accepting spoof.", rich_help_panel=COSTS)
    ] = 10.0,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Number of resampling rounds; 0 for none.", rich_help_panel=INTERVALS)
    ] = 0,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Column whose values are resampled as wholes, e.g. speaker_id.", rich_help_panel=INTERVALS
        ),
    ] = None,
    confidence: Annotated[
        float, typer.Option(min=0.5, max=0.999, help="Confidence of the intervals.", rich_help_panel=INTERVALS)
    ] = 0.95,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for resampling.", rich_help_panel=INTERVALS)] = 0,
    compare: Annotated[
        Path | None, typer.Option(help="Scores of another system on the same trials.", rich_help_panel=COMPARISON)
    ] = None,
    compare_metric: Annotated[str, typer.Option(help="Metric to compare by.", rich_help_panel=COMPARISON)] = "eer",
    compare_polarity: Annotated[
        str | None,
        typer.Option(help="Polarity of the other system's file, if it differs.", rich_help_panel=COMPARISON),
    ] = None,
    compare_score_column: Annotated[
        str | None, typer.Option(help="Score column of the other system's file.", rich_help_panel=COMPARISON)
    ] = None,
    polarity: Annotated[
        str | None,
        typer.Option(help="higher-is-bonafide or higher-is-spoof; never guessed.", rich_help_panel=OTHER_TOOLS),
    ] = None,
    id_column: Annotated[
        str | None, typer.Option(help="Name or number of the id column.", rich_help_panel=OTHER_TOOLS)
    ] = None,
    score_column: Annotated[
        str | None, typer.Option(help="Name or number of the score column.", rich_help_panel=OTHER_TOOLS)
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Made on other trials by `veravox calibrate`, or `fuse`.", rich_help_panel=CALIBRATION),
    ] = None,
    fuse_with: Annotated[
        list[Path] | None,
        typer.Option(
            help="With a fusion as --calibration: its other score files, in order.", rich_help_panel=CALIBRATION
        ),
    ] = None,
    cross_validate: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of folds for cross-validated calibration on these trials.",
            rich_help_panel=CALIBRATION,
        ),
    ] = 0,
    llr: Annotated[
        bool, typer.Option("--llr", help="Scores are log-likelihood ratios.", rich_help_panel=CALIBRATION)
    ] = False,
    asv_scores: Annotated[
        Path | None,
        typer.Option(
            help="Speaker verification scores, for t-DCF and t-EER; of several phases, those of the protocol "
            "are taken.",
            rich_help_panel=FURTHER_INPUTS,
        ),
    ] = None,
    asv_point: Annotated[
        str,
        typer.Option(
            help="EER operating point of the ASV in the t-DCF: counted, or official (as in ASVspoof's packages).",
            rich_help_panel=FURTHER_INPUTS,
        ),
    ] = "counted",
    joint_scores: Annotated[
        Path | None,
        typer.Option(
            help="Scores (target, nontarget, spoof) of a system that does both, for a-DCF.",
            rich_help_panel=FURTHER_INPUTS,
        ),
    ] = None,
    segments: Annotated[
        Path | None,
        typer.Option(
            help="Spoofed segments of each utterance: EER over segments and over time.",
            rich_help_panel=FURTHER_INPUTS,
        ),
    ] = None,
    windows: Annotated[
        Path | None,
        typer.Option(
            help="Window scores for --segments [NAME.windows.csv beside the scores].",
            rich_help_panel=FURTHER_INPUTS,
        ),
    ] = None,
    resolution: Annotated[
        float, typer.Option(help="Segment length in seconds.", rich_help_panel=FURTHER_INPUTS)
    ] = 0.16,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for HTML, PNG, JSON, Markdown and LaTeX.", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate scores: EER, AUC, DCF, Cllr, accuracy, t-DCF, by group and pool, with intervals."""
    from veravox.apps import show
    from veravox.errors import EvaluationError
    from veravox.evaluation import (
        DetectionCost,
        MetricSettings,
        evaluate,
        phases_of,
        pools_from_text,
        read_asv_scores,
        read_key,
        read_scores,
        restrict,
    )
    from veravox.tables import Segments

    *systems, protocol = files
    if not systems:
        raise EvaluationError(f"scores and a protocol are needed; got {str(protocol)!r} alone")
    key = read_key(protocol)
    conditions = where or []
    if len(systems) > 1:
        alone = {"--report": report, "--bootstrap": bootstrap, "--compare": compare, "--calibration": calibration}
        _print_systems(
            systems,
            key,
            by or [],
            [name for name, value in {**alone, "--segments": segments}.items() if value],
            as_json,
            at=(at or ["eer"])[0],
            where=conditions,
            polarity=polarity,
            score_column=score_column,
            metrics=metric or ["eer"],
        )
        return
    raw = read_scores(systems[0], polarity, id_column, score_column)
    fused, fitted = _calibrated(raw, calibration, fuse_with or [], polarity)
    scores = _with_windows(fused, systems[0], windows) if segments else fused
    scores, key = restrict(scores, key, conditions)
    show.say(f"{len(key)} trials of {protocol}", quiet or as_json)
    settings = MetricSettings(
        DetectionCost(p_spoof, cost_miss, cost_false_alarm),
        asv=read_asv_scores(asv_scores, phases_of(key)) if asv_scores else None,
        eer_form=eer_form,  # type: ignore[arg-type]
        asv_point=asv_point,  # type: ignore[arg-type]
    )
    with show.progress("bootstrap rounds", bootstrap, quiet or not bootstrap) as advance:
        result = evaluate(
            scores,
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
            cost=settings.cost,
            asv=settings.asv,
            asv_point=settings.asv_point,
            joint=read_asv_scores(joint_scores, phases_of(key)) if joint_scores else None,
            eer_form=settings.eer_form,
            segments=Segments.read(segments) if segments else None,
            resolution_s=resolution,
            progress=advance,
        )
    comparison = None
    if compare:
        other = read_scores(compare, compare_polarity or polarity, id_column, compare_score_column)
        rival, _ = restrict(other, read_key(protocol), conditions)
        comparison = _compared(
            (scores, rival),
            (systems[0], compare),
            key,
            fitted,
            settings,
            metric=compare_metric,
            cluster=cluster,
            rounds=bootstrap or 1000,
            confidence=confidence,
            seed=seed,
            llr=llr or None,
        )
    _print(result, comparison, report, digits, as_json, quiet)


def _print_systems(
    systems: list[Path], key: Protocol, by: list[str], wrong: list[str], as_json: bool, **options: Any
) -> None:
    """The table of several systems by the values of a column."""
    from veravox.apps import show
    from veravox.errors import EvaluationError
    from veravox.evaluation import Run, accuracy_grid

    if wrong or not by:
        what = f"without {', '.join(wrong)}" if wrong else "by a column, e.g. --by degradation"
        raise EvaluationError(f"several files of scores make one table {what}")
    runs = [Run.parse(str(path)) for path in systems]
    names = [run.system for run in runs]
    if len(set(names)) < len(names):
        raise EvaluationError(f"two systems have one name ({', '.join(names)}); write NAME:PATH")
    table = accuracy_grid(runs, key, by, **options).transposed()
    if as_json:
        typer.echo(table.written("json"), nl=False)
    else:
        show.print_table(table.columns, table.texts(), table.caption)


def _calibrated(
    scores: Scores, calibration: Path | None, fuse_with: list[Path], polarity: str | None
) -> tuple[Scores, FittedCalibration | None]:
    """The scores, fused where the calibration is a fusion; else the calibration to apply."""
    from veravox.evaluation import FittedCalibration, Fusion, is_fusion, read_scores

    if calibration is None:
        return scores, None
    if is_fusion(calibration):
        return Fusion.read(calibration).apply([scores, *(read_scores(path, polarity) for path in fuse_with)]), None
    return scores, FittedCalibration.read(calibration)


def _with_windows(scores: Scores, path: Path, windows: Path | None) -> Scores:
    from veravox.evaluation import with_windows

    return with_windows(scores, windows or path.with_suffix(f".windows{path.suffix}"))


def _compared(
    scores: tuple[Scores, Scores],
    paths: tuple[Path, Path],
    key: Protocol,
    fitted: FittedCalibration | None,
    settings: MetricSettings,
    **options: Any,
) -> Comparison:
    from veravox.evaluation import compare_scores

    first, second = paths
    names = (first.stem, second.stem) if first.stem != second.stem else (str(first), str(second))
    return compare_scores(*scores, key, names=names, calibrations=(fitted, None), settings=settings, **options)


def _print(
    result: Evaluation, comparison: Comparison | None, report: Path | None, digits: int, as_json: bool, quiet: bool
) -> None:
    from veravox.apps import show
    from veravox.evaluation import write_report
    from veravox.evaluation.tables import summary

    for message in result.warnings:
        show.warn(message)
    if report:
        show.say(f"report: {write_report(result, report, comparison)}", quiet)
    if as_json:
        show.print_json(result.to_dict() | ({"comparison": comparison.to_dict()} if comparison else {}))
        return
    for heading, grid in summary.grids_of(result, digits):
        show.print_table(grid.columns, grid.texts(), "\n".join(filter(None, [heading, grid.caption])))
    for line in summary.remarks(result):
        typer.echo(line)
    if comparison:
        typer.echo(f"\n{comparison.conclusion}\n{comparison.mcnemar_sentence}")
