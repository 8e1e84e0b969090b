"""`veravox report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from veravox.apps.arguments import Json, Limit, Quiet


def command(
    file: Annotated[str, typer.Argument(metavar="FILE", help="One recording.")],
    out: Annotated[Path, typer.Option(help="Folder for report.html and report.json.")],
    model: Annotated[str | None, typer.Option(help="Bundled name, path or hub id.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, ...")] = "auto",
    policy: Annotated[str, typer.Option(help="sliding, first or middle.")] = "sliding",
    hop_s: Annotated[float | None, typer.Option(help="Seconds between sliding windows [a whole window].")] = None,
    prior: Annotated[float | None, typer.Option(help="Prior of spoof for P(spoof).")] = None,
    as_json: Json = False,
    limit: Limit = None,
    quiet: Quiet = False,
) -> None:
    """One recording, one page to file: verdict, thresholds, timeline, experts, quality, hashes."""
    from veravox.apps import show
    from veravox.errors import ConfigurationError
    from veravox.scoring import load_detector
    from veravox.scoring.detector import detector_policy
    from veravox.scoring.recording_page import report
    from veravox.scoring.verdict import VerdictRule

    if prior is not None and not 0 < prior < 1:
        raise ConfigurationError(f"--prior must lie between 0 and 1, not {prior}")
    checkpoint = load_detector(model, device)
    warning = VerdictRule(checkpoint, detector_policy(checkpoint, policy, hop_s)).policy_warning
    if warning:
        show.warn(warning)
    content = report(checkpoint, file, out, policy, hop_s, prior)  # type: ignore[arg-type]
    if as_json:
        show.print_json(content)
        return
    verdict = content["verdict"]
    print(f"{verdict['verdict']}, score {verdict['score']:+.2f}: {out / 'report.html'}")
    for warning in content["cautions"]:
        show.warn(warning["message"])
