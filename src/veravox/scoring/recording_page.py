"""One recording, one page an analyst can file: what was said, by what, on which grounds, with which limits."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from veravox import __version__, pages
from veravox.audio import open_audio
from veravox.errors import AudioError
from veravox.files import write_json, write_text
from veravox.models.checkpoint import Checkpoint
from veravox.models.experts import EXPERTS
from veravox.models.front_ends import FRONT_ENDS
from veravox.scoring.detector import detector_policy, verdicts
from veravox.scoring.timeline import envelope, timeline
from veravox.scoring.verdict import MIN_SPEECH_S, SCHEMA, Verdict, quality_dict
from veravox.tables import protocol_from_paths, table_text

PRIORS = (0.01, 0.1, 0.5, 0.9)
VERDICT_WORDS = {
    "bonafide": "bona fide",
    "spoof": "spoof",
    "uncertain": "uncertain",
    "uncalibrated": "uncalibrated",
}


def file_facts(path: str) -> dict[str, Any]:
    """What identifies a file: hash, size, format."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    with open_audio(path) as stream:
        info = asdict(stream.info)
    return {"path": table_text(path), "sha256": digest.hexdigest(), "bytes": os.path.getsize(path), **info}


def report(
    checkpoint: Checkpoint,
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    policy: Literal["sliding", "first", "middle"] = "sliding",
    hop_s: float | None = None,
    prior: float | None = None,
    workers: int = 1,
) -> dict[str, Any]:
    """Judge one file and write `report.html` and `report.json` into a folder.

    Returns:
        The content of the JSON.
    Raises:
        AudioError: if the file cannot be heard.
        OutputError: if the pages cannot be written.
    """
    name = os.fspath(path)
    chosen = detector_policy(checkpoint, policy, hop_s)
    verdict = next(verdicts(checkpoint, protocol_from_paths([name]), chosen, workers, prior=prior))
    if verdict.error is not None:
        raise AudioError(verdict.error)
    content = _content(checkpoint, verdict, name, str(chosen))
    calibration = checkpoint.calibration
    wave = envelope(name, verdict.duration_s or 0.0)
    light, dark = (
        timeline(verdict.windows, wave, calibration, verdict.most_spoof_like, night) for night in (False, True)
    )
    write_text(Path(out) / "report.html", _page(content, verdict, checkpoint, light, dark))
    write_json(Path(out) / "report.json", content)
    return content


def _content(checkpoint: Checkpoint, verdict: Verdict, path: str, policy: str) -> dict[str, Any]:
    calibration = checkpoint.calibration
    priors = {}
    if calibration is not None and verdict.score is not None:
        priors = {str(prior): calibration.p_spoof(verdict.score, prior) for prior in PRIORS}
    return {
        "schema": SCHEMA,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "veravox": __version__,
        "file": file_facts(path),
        "detector": {
            "name": checkpoint.source,
            "sha256": checkpoint.sha256,
            "policy": policy,
            "calibration": calibration.to_dict() if calibration else None,
            "limits": dict(checkpoint.limits),
            "dev_eer": checkpoint.provenance.get("metrics", {}).get("dev_eer"),
        },
        "verdict": verdict.to_dict(with_windows=True),
        "p_spoof_by_prior": priors,
        "quality": quality_dict(verdict.quality),
        "cautions": [asdict(warning) for warning in verdict.warnings],
    }


def _meaning(verdict: Verdict) -> str:
    """The score in one plain sentence."""
    assert verdict.score is not None
    if verdict.verdict == "uncalibrated":
        return "This detector has no calibration: the score only ranks recordings, and no verdict follows from it."
    favoured = "bona fide than if it were spoofed" if verdict.score >= 0 else "spoofed than if it were bona fide"
    factor = math.exp(min(abs(verdict.score), 50.0))
    return (
        f"A recording like this is {factor:.3g} times more likely if it is {favoured}, by this detector. "
        "The score is the natural logarithm of that ratio. It is evidence, not proof: read the limits below."
    )


def _page(content: dict[str, Any], verdict: Verdict, checkpoint: Checkpoint, light: bytes, dark: bytes) -> str:
    assert verdict.score is not None
    p_spoof = "–" if verdict.p_spoof is None else f"{100 * verdict.p_spoof:.1f} %"
    prior_note = "no calibration" if verdict.prior is None else f"at a prior of {100 * verdict.prior:.3g} %"
    top = pages.cards(
        [
            ("Verdict", VERDICT_WORDS[verdict.verdict or ""], "by the two thresholds below"),
            ("Score", f"{verdict.score:+.2f}", "log-likelihood ratio, bona fide above 0"),
            ("P(spoof)", p_spoof, prior_note),
            ("Duration", f"{verdict.duration_s:.2f} s", f"{len(verdict.windows)} windows"),
        ]
    )
    notices = [pages.notice(f"Caution: {warning.message}.") for warning in verdict.warnings]
    sections = [
        pages.Section(
            "What the score says", pages.join(pages.paragraph(_meaning(verdict)), _thresholds(checkpoint, verdict))
        ),
        pages.Section("Over time", _time(verdict, light, dark)),
        pages.Section("Experts", _experts(checkpoint, verdict)),
        pages.Section("Recording", pages.join(_quality(content, checkpoint), _facts(content["file"]))),
        pages.Section("Detector and limits", _detector(content, checkpoint)),
    ]
    return pages.page(
        f"Voice report: {Path(content['file']['path']).name}",
        sections,
        lead="Is this voice human (bona fide) or made by a machine (spoof)?",
        top=pages.join(top, *notices),
        foot=f"Made {content['made_at']} by veravox {content['veravox']}. For machines: report.json.",
    )


def _thresholds(checkpoint: Checkpoint, verdict: Verdict) -> pages.Html:
    calibration = checkpoint.calibration
    if calibration is None or verdict.score is None:
        return pages.Html("")
    rows = [
        ("spoof", f"score below {calibration.lower:+.2f}"),
        ("uncertain", "between the two, or a caution above"),
        ("bona fide", f"score from {calibration.upper:+.2f} on"),
    ]
    odds = [(f"{100 * prior:g} %", f"{100 * calibration.p_spoof(verdict.score, prior):.2f} %") for prior in PRIORS]
    return pages.join(
        pages.table(["verdict", "when"], rows, f"Thresholds, fitted on {calibration.fitted_on}"),
        pages.paragraph(calibration.rule, "soft"),
        pages.table(["prior of spoof", "P(spoof)"], odds, "The same score under other expectations"),
    )


def _time(verdict: Verdict, light: bytes, dark: bytes) -> pages.Html:
    parts = [
        pages.picture(
            light,
            "Peak amplitude and window scores over time",
            "Above: peaks of the waveform. Below: the score of each window; between the dashed thresholds it "
            "is uncertain.",
            dark,
        )
    ]
    if verdict.most_spoof_like is not None:
        start, end, score = verdict.most_spoof_like
        parts.append(
            pages.paragraph(f"Most spoof-like 10 s: {start:.1f} to {end:.1f} s, score {score:+.2f} (shaded).")
        )
    return pages.join(*parts)


def _experts(checkpoint: Checkpoint, verdict: Verdict) -> pages.Html:
    spec = checkpoint.model.spec
    rows = []
    for name, expert in spec.experts.items():
        front_end = spec.front_ends[expert.front_end]
        captures = getattr(FRONT_ENDS[front_end.name], "captures", "")
        notices = getattr(EXPERTS[expert.spec.name], "inductive_bias", "")
        words = pages.Cell(f"{front_end.name}: {captures}. {expert.spec.name}: {notices}.", "wrap")
        weight, score = verdict.gate_weights[name], verdict.expert_scores[name]
        rows.append((name, f"{weight:.2f}", "not run" if score is None else f"{score:+.2f}", words))
    note = "The weight is the expert's mean share in this decision; in every window the score is the weighted sum."
    return pages.join(
        pages.table(["expert", "weight", "score", "what it can notice"], rows), pages.paragraph(note, "soft")
    )


def _quality(content: dict[str, Any], checkpoint: Checkpoint) -> pages.Html:
    measured, limits = content["quality"] or {}, checkpoint.limits

    def row(name: str, key: str, form: str, limit: str) -> tuple[object, ...]:
        value = measured.get(key)
        return name, "unknown" if value is None else form.format(value), limit

    def limit(key: str, form: str) -> str:
        return form.format(limits[key]) if key in limits else "–"

    rows = [
        row("speech-like signal", "speech_s", "{:.2f} s", f"at least {MIN_SPEECH_S:g} s"),
        row("effective bandwidth", "bandwidth_hz", "{:.0f} Hz", limit("min_bandwidth_hz", "at least {:.0f} Hz")),
        row("signal-to-noise ratio", "snr_db", "{:.1f} dB", limit("min_snr_db", "at least {:.1f} dB")),
        row("clipped samples", "clipped_share", "{:.3%}", limit("max_clipped_share", "at most {:.2%}")),
        row("DC offset", "dc_offset", "{:+.4f}", limit("max_dc_offset", "at most ±{:.3f}")),
        row("active level", "active_level_dbfs", "{:.1f} dBFS", "–"),
        row("peak", "peak_dbfs", "{:.1f} dBFS", "–"),
        row("digital silence", "silence_share", "{:.1%}", "–"),
    ]
    return pages.table(["measure", "here", "limit of the training audio"], rows)


def _facts(facts: dict[str, Any]) -> pages.Html:
    rows = [(key.replace("_", " "), pages.Cell(value, "wrap")) for key, value in facts.items()]
    return pages.table(["file", ""], rows)


def _detector(content: dict[str, Any], checkpoint: Checkpoint) -> pages.Html:
    detector, data = content["detector"], checkpoint.provenance.get("data", {})
    eer = detector["dev_eer"]
    rows = [
        ("name", detector["name"]),
        ("SHA-256", detector["sha256"]),
        ("windows", detector["policy"]),
        ("trained on", f"{data['train']['trials']} trials" if "train" in data else "unknown"),
        ("EER on dev", "unknown" if eer is None else f"{100 * eer:.2f} %"),
    ]
    words = (
        "A detector knows the generators, languages and channels it was trained on. Others may fool it in either "
        "direction; so may editing, re-recording and heavy compression. Error rates on unseen attacks are in its "
        "model card ('veravox models NAME'). Do not decide on a score alone."
    )
    return pages.join(
        pages.table(["detector", ""], [(name, pages.Cell(value, "wrap")) for name, value in rows]),
        pages.paragraph(words),
    )
