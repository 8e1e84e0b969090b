"""`veravox models`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from veravox.apps.arguments import Json, Quiet


def command(
    name: Annotated[str | None, typer.Argument(help="Show the whole card of this one.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The bundled detectors: what they were trained on, what they reach, their limits."""
    from veravox.apps import show
    from veravox.errors import ConfigurationError, suggest
    from veravox.scoring.detector import bundled_detectors

    found = bundled_detectors()
    if name is not None:
        if name not in found:
            raise ConfigurationError(f"unknown model {name!r}; {suggest(name, found)}")
        if not as_json:
            card = found[name].with_suffix(".md")
            print(card.read_text(encoding="utf-8"), end="")
            return
        found = {name: found[name]}
    described = [_described(one, path) for one, path in found.items()]
    if as_json:
        show.print_json(described)
        return
    columns = ["model", "experts", "gate", "trained on", "dev EER", "eval EER", "limits"]
    show.print_table(columns, [_row(one) for one in described])


def _described(name: str, path: Any) -> dict[str, Any]:
    import json

    from veravox.scoring.detector import load_detector

    checkpoint = load_detector(name, "cpu")
    card = path.with_suffix(".json")
    return {
        "name": name,
        "sha256": checkpoint.sha256,
        "parameters": sum(parameter.numel() for parameter in checkpoint.model.parameters()),
        "detector": checkpoint.model.spec.to_dict(),
        "calibration": checkpoint.calibration.to_dict() if checkpoint.calibration else None,
        "limits": dict(checkpoint.limits),
        "metrics": dict(checkpoint.provenance.get("metrics", {})),
        "card": json.loads(card.read_text(encoding="utf-8")) if card.is_file() else {},
    }


def _row(one: dict[str, Any]) -> list[str]:
    card, metrics = one["card"], one["metrics"]
    dev = metrics.get("dev_eer")
    return [
        one["name"],
        ", ".join(one["detector"]["experts"]),
        one["detector"]["gate"]["name"],
        card.get("trained_on", ""),
        f"{100 * dev:.1f} %" if dev is not None else "",
        card.get("eval", ""),
        card.get("limits", ""),
    ]
