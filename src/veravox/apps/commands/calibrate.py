"""`veravox calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veravox.apps.arguments import Json, Quiet


def command(
    scores: Annotated[Path, typer.Argument(help="Raw scores of a development set.")],
    protocol: Annotated[Path, typer.Argument(help="Its protocol or key, with labels.")],
    out: Annotated[Path, typer.Option(help="Where the calibration goes (JSON).")],
    prior: Annotated[float, typer.Option(help="Of spoof.")] = 0.5,
    rule: Annotated[
        str, typer.Option(help="Thresholds: verdict (two, with `uncertain` between), eer, or cost.")
    ] = "verdict",
    max_bona_fide_below: Annotated[
        float, typer.Option(help="Rule verdict: share of bona fide that may be called spoof.")
    ] = 0.01,
    max_spoof_above: Annotated[
        float, typer.Option(help="Rule verdict: share of spoof that may be called bona fide.")
    ] = 0.05,
    p_spoof: Annotated[float, typer.Option(help="Rule cost: prior of spoof.")] = 0.05,
    cost_miss: Annotated[float, typer.Option(help="Rule cost: of calling bona fide spoof.")] = 1.0,
    cost_false_alarm: Annotated[float, typer.Option(help="Rule cost: of calling spoof bona fide.")] = 10.0,
    policy: Annotated[str, typer.Option(help="Window policy of the scores; another one warns later.")] = "",
    cross_validate: Annotated[
        int, typer.Option(help="Folds; reports Cllr of every trial under a fit without it.", min=0)
    ] = 5,
    cluster: Annotated[str | None, typer.Option(help="Keep values of this column in one fold.")] = None,
    where: Annotated[list[str] | None, typer.Option(help="COLUMN=VALUE: only these trials. Repeatable.")] = None,
    polarity: Annotated[
        str | None, typer.Option(help="Of a foreign file: higher-is-bonafide or higher-is-spoof.")
    ] = None,
    id_column: Annotated[str | None, typer.Option(help="Foreign file: name or number of the id column.")] = None,
    score_column: Annotated[str | None, typer.Option(help="Foreign file: name or number of the score.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit scores to log-likelihood ratios, for `evaluate --calibration` and `score --calibration`."""
    from veravox.apps import show
    from veravox.evaluation import DetectionCost, calibrate, read_key, read_scores, restrict
    from veravox.files import refuse_inputs

    refuse_inputs(out, [scores, protocol])
    fitted_scores, key = restrict(
        read_scores(scores, polarity, id_column, score_column), read_key(protocol), where or []
    )
    result = calibrate(
        fitted_scores,
        key,
        cross_validate=cross_validate,
        cluster=cluster,
        prior=prior,
        policy=policy,
        rule=rule,
        cost=DetectionCost(p_spoof, cost_miss, cost_false_alarm),
        max_bona_fide_below=max_bona_fide_below,
        max_spoof_above=max_spoof_above,
    )
    result.fitted.write(out)
    if as_json:
        show.print_json(result.to_dict())
        return
    show.print_table(["calibration", "value"], result.rows())
    show.note(f"written to {out}; evaluate it on other trials: veravox evaluate ... --calibration {out}", quiet)
