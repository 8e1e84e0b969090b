"""`veravox score`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from veravox.apps.arguments import Limit

if TYPE_CHECKING:
    from veravox.models.checkpoint import Checkpoint
    from veravox.scoring.verdict import Verdict
    from veravox.tables import Protocol, Scores, TrialList

PATHS = "Files, folders, globs, '-' (a list on stdin), or one protocol (.csv, .parquet)."


def command(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help=PATHS)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    windows: Annotated[
        bool, typer.Option("--windows", help="Add [start_s, end_s, score] of each window.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write FILE.csv, .parquet or .jsonl in place of the table.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Bundled name, path or hub id.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, ...")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Threads that decode while the model runs.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="Windows at a time.")] = 16,
    policy: Annotated[str, typer.Option(help="sliding, first or middle.")] = "sliding",
    hop_s: Annotated[float | None, typer.Option(help="Seconds between sliding windows [a whole window].")] = None,
    channels: Annotated[
        str, typer.Option(help="auto, mix or each: score channels one by one where they differ, never, always.")
    ] = "auto",
    calibration: Annotated[
        Path | None, typer.Option(help="Fitted by `veravox calibrate` on this detector's scores.")
    ] = None,
    prior: Annotated[
        float | None, typer.Option(help="Prior of spoof for p_spoof [the calibration's, 0.5].")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after a kill; needs --out.")] = False,
    shard: Annotated[str, typer.Option(metavar="I/N", help="Score part I of N; needs --out.")] = "1/1",
    null: Annotated[bool, typer.Option("-0", help="The list on stdin is separated by null bytes.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the model [torch's choice].")] = None,
    limit: Limit = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no summary.")] = False,
) -> None:
    """Score recordings: verdict, calibrated score, weights of the experts.

    A score is a log-likelihood ratio (natural log): above 0 speaks for bona fide, below 0 for spoof.
    """
    from veravox.apps import show
    from veravox.errors import ConfigurationError
    from veravox.files import refuse_inputs
    from veravox.scoring.detector import detector_policy, load_detector

    part = _shard(shard)
    if out is None and (resume or part != (1, 1)):
        raise ConfigurationError("--resume and --shard need --out FILE")
    if prior is not None and not 0 < prior < 1:
        raise ConfigurationError(f"--prior must lie between 0 and 1, not {prior}")
    if channels not in ("auto", "mix", "each"):
        raise ConfigurationError(f"--channels {channels!r}: write auto, mix or each")
    if out is not None:
        refuse_inputs(out, [path for path in paths if path != "-"])
    protocol, trials = _trials(paths, null, part)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    checkpoint = load_detector(model, device)
    if calibration is not None:
        from veravox.evaluation import FittedCalibration

        checkpoint.calibration = FittedCalibration.read(calibration).after(checkpoint.calibration)
    chosen = detector_policy(checkpoint, policy, hop_s)
    _warn_of_calibration(checkpoint, chosen)
    run: dict[str, Any] = {"policy": chosen, "workers": workers, "batch_size": batch_size, "prior": prior}
    run["channels"] = channels
    shown = _Shown(protocol, as_json, windows, quiet, table=out is None)
    with show.progress("scoring", len(protocol), quiet) as advance:

        def on_trial(verdict: Verdict) -> None:
            shown.add(verdict)
            advance(1)

        if out is not None:
            from veravox.scoring.output import score_to_file

            scores = score_to_file(
                checkpoint,
                protocol,
                out,
                windows=windows,
                resume=resume,
                shard=part,
                on_trial=on_trial,
                trials=trials,
                **run,
            )
            shown.finished_before(scores)
        else:
            from veravox.scoring.detector import verdicts

            for verdict in verdicts(checkpoint, protocol, **run):
                on_trial(verdict)
    shown.finish(out)


def _shard(text: str) -> tuple[int, int]:
    from veravox.errors import ConfigurationError

    index, slash, count = text.partition("/")
    if not slash or not index.isdecimal() or not count.isdecimal() or not 1 <= int(index) <= int(count):
        raise ConfigurationError(f"--shard {text!r}: write I/N with 1 <= I <= N, e.g. 1/4")
    return int(index), int(count)


def _trials(paths: list[str], null: bool, part: tuple[int, int]) -> tuple[Protocol, TrialList]:
    """The trials of a shard and the list it is of: one protocol, or files, folders, globs, a list on stdin."""
    from veravox.audio import find_audio
    from veravox.errors import ConfigurationError
    from veravox.tables import TABLE_SUFFIXES, TrialList, protocol_from_paths, read_shard

    tables = [path for path in paths if Path(path).suffix.lower() in TABLE_SUFFIXES]
    if tables:
        if len(paths) > 1:
            raise ConfigurationError(
                f"score one protocol at a time, or files; got {tables[0]!r} among {len(paths)}"
            )
        protocol, trials = read_shard(tables[0], *part)
        protocol.require("path")
        if not trials.count:
            raise ConfigurationError(f"{tables[0]!r} has no trials")
        return protocol, trials
    given: list[str] = []
    for path in paths:
        given += _listed(null) if path == "-" else [path]
    if not given:
        raise ConfigurationError("the list on stdin is empty")
    protocol = protocol_from_paths(find_audio(given))
    return protocol.shard(*part), TrialList.of(protocol)


def _listed(null: bool) -> list[str]:
    import os

    listed = sys.stdin.buffer.read()
    # A list made on Windows ends its lines in \r\n.
    names = listed.split(b"\0") if null else [line.removesuffix(b"\r") for line in listed.split(b"\n")]
    return [os.fsdecode(name) for name in names if name.strip()]


def _warn_of_calibration(checkpoint: Checkpoint, policy: Any) -> None:
    from veravox.apps import show
    from veravox.scoring.verdict import VerdictRule

    if checkpoint.calibration is None:
        show.warn("this detector has no calibration: scores are raw logits, verdicts 'uncalibrated'")
    warning = VerdictRule(checkpoint, policy).policy_warning
    if warning:
        show.warn(warning)


class _Shown:
    """What the command prints: JSON lines as they come, or a table at the end; failures on stderr."""

    def __init__(self, protocol: Protocol, as_json: bool, windows: bool, quiet: bool, table: bool) -> None:
        frame = protocol.frame
        self.labels = dict(zip(frame["utterance_id"], frame["label"])) if "label" in frame.columns else {}
        self.as_json, self.windows, self.quiet, self.table = as_json, windows, quiet, table
        self.rows: list[list[Any]] = []
        self.experts: list[str] = []
        self.counts: dict[str, int] = {}
        self.failures: list[str] = []
        self.before = False
        self.given = self.right = 0

    def add(self, verdict: Verdict) -> None:
        label = self.labels.get(verdict.utterance_id)
        if label is not None and verdict.verdict in ("bonafide", "spoof"):
            self.given += 1
            self.right += verdict.verdict == label
        if verdict.error is not None:
            self.failures.append(verdict.error)
        self.counts[verdict.verdict or "failed"] = self.counts.get(verdict.verdict or "failed", 0) + 1
        if self.as_json:
            from veravox.apps import show

            show.print_json(verdict.to_dict(self.windows), indent=None)
        elif verdict.error is None and self.table:
            self._row(verdict)

    def _row(self, verdict: Verdict) -> None:
        self.experts = list(verdict.gate_weights)
        row: list[Any] = [verdict.path, verdict.verdict, f"{verdict.score:+.2f}"]
        if self.labels:
            row.insert(1, self.labels.get(verdict.utterance_id) or "")
        row += [f"{weight:.2f}" for weight in verdict.gate_weights.values()]
        row.append(", ".join(warning.test for warning in verdict.warnings))
        self.rows.append(row)
        for number, score, side in verdict.channels:
            piece = [f"  channel {number}", side, f"{score:+.2f}", *[""] * (len(self.experts) + 1)]
            self.rows.append(piece[:1] + [""] * bool(self.labels) + piece[1:])
        if self.windows:
            for start, end, score in verdict.windows:
                piece = [f"  {start:.2f}-{end:.2f} s", "", f"{score:+.2f}", *[""] * (len(self.experts) + 1)]
                self.rows.append(piece[:1] + [""] * bool(self.labels) + piece[1:])

    def finished_before(self, scores: Scores) -> None:
        """Count what an earlier run wrote, where nothing was left to score."""
        if not self.counts:
            names = scores.frame["verdict"].to_list() if "verdict" in scores.frame.columns else []
            self.failures = scores.failures["error"].to_list()
            self.counts = {name: names.count(name) for name in dict.fromkeys(names)}
            self.counts |= {"failed": len(self.failures)} if self.failures else {}
            self.before = bool(self.counts)

    def finish(self, out: Path | None) -> None:
        """Print the table, the failures and a summary; exit 1 if some inputs failed."""
        from veravox.apps import show

        if not self.as_json and self.rows:
            label = ["label"] if self.labels else []
            columns = ["file", *label, "verdict", "score", *self.experts, "warnings"]
            if not any(row[-1] for row in self.rows):
                columns, self.rows = columns[:-1], [row[:-1] for row in self.rows]
            show.print_table(columns, self.rows)
        sys.stdout.flush()
        for failure in self.failures:
            print(f"veravox: {show.printable(failure)}", file=sys.stderr)
        summary = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.counts.items()))
        show.say(
            f"{sum(self.counts.values())} files: {summary}"
            + (f"; {'finished before, in' if self.before else 'written to'} {out}" if out else ""),
            self.quiet,
        )
        if self.given:
            labelled = sum(label is not None for label in self.labels.values())
            show.say(
                f"verdicts on {self.given} of {labelled} labelled files, {self.right} of them right", self.quiet
            )
        if self.failures:
            raise typer.Exit(1)
