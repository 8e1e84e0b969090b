"""A checkpoint is one safetensors file: weights, and in its header specs, calibration and provenance."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from veravox.errors import CheckpointError, VeravoxError, first_few
from veravox.files import whole_file
from veravox.models.detector import DetectorModel, DetectorSpec
from veravox.models.renamed_keys import with_current_keys
from veravox.tables import Calibration

FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)
"""Version 1 names some parameters otherwise; see `renamed_keys`."""
CHECKPOINT_NAME = "detector.safetensors"


@dataclass
class Checkpoint:
    """A detector ready to judge, and all that is known of it.

    Attributes:
        model: the network, in evaluation mode, on the CPU.
        calibration: None if it has none; then scores are raw logits and verdicts `uncalibrated`.
        limits: what audio it was trained on, by measure (see `scoring.quality`); empty if unknown.
        provenance: recipe, data hashes, metrics, version.
        sha256: of the file it was read from; empty if it was never written.
        source: what it was loaded as.
    """

    model: DetectorModel
    calibration: Calibration | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""
    source: str = ""


def write_checkpoint(checkpoint: Checkpoint, path: str | os.PathLike[str]) -> Path:
    """Write one file; a folder is given the name `detector.safetensors` inside it.

    Raises:
        OutputError: if it cannot be written whole.
    """
    target = Path(path)
    if target.suffix != ".safetensors":
        target = target / CHECKPOINT_NAME
    header = {
        "format_version": FORMAT_VERSION,
        "detector": checkpoint.model.spec.to_dict(),
        "calibration": checkpoint.calibration.to_dict() if checkpoint.calibration else None,
        "limits": dict(checkpoint.limits),
        "provenance": dict(checkpoint.provenance),
    }
    weights = {name: _compact(tensor) for name, tensor in checkpoint.model.state_dict().items()}
    with whole_file(target) as temporary:
        metadata = {"veravox": json.dumps(header, allow_nan=False)}
        temporary.write_bytes(safetensors.torch.save(weights, metadata))
    return target


def _compact(tensor: torch.Tensor) -> torch.Tensor:
    """As it is written: in half precision where that loses nothing, as with weights that were published in it."""
    kept = tensor.detach().cpu().contiguous()
    if kept.dtype == torch.float32 and kept.numel() > 1 and torch.equal(kept.half().float(), kept):
        return kept.half()
    return kept


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read what `write_checkpoint` wrote; runs no code from the file.

    Raises:
        CheckpointError: if it is absent, cut short, not ours, of another version, or its weights do not fit.
    """
    file = Path(path)
    if file.is_dir():
        file = file / CHECKPOINT_NAME
    if not file.is_file():
        raise CheckpointError(f"no checkpoint at {str(path)!r}; expected a .safetensors file or a folder with one")
    header, weights = _read(file)
    version = header.get("format_version")
    if version not in READABLE_VERSIONS:
        raise CheckpointError(
            f"{str(file)!r} has checkpoint version {version!r}, this veravox reads up to {FORMAT_VERSION}; "
            "use the veravox version that wrote it, or a newer one"
        )
    try:
        model = DetectorModel(DetectorSpec.parse(header["detector"]))
        calibration = Calibration.from_dict(header["calibration"]) if header.get("calibration") else None
    except (VeravoxError, KeyError) as error:
        raise CheckpointError(f"{str(file)!r} describes a detector that cannot be built: {error}") from error
    _load(model, with_current_keys(weights, model), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Checkpoint(
        model.eval(), calibration, header.get("limits", {}), header.get("provenance", {}), digest, str(path)
    )


def _read(file: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with safetensors.safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{str(file)!r} is cut short or is no safetensors file ({error}); fetch or write it again"
        ) from error
    if "veravox" not in metadata:
        raise CheckpointError(
            f"{str(file)!r} holds weights but no veravox header; "
            "convert foreign weights with 'veravox import-checkpoint'"
        )
    try:
        header = json.loads(metadata["veravox"])
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{str(file)!r} has a damaged header: {error}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"{str(file)!r} has a damaged header: not a mapping")
    return header, weights


def _load(model: DetectorModel, weights: Mapping[str, torch.Tensor], file: Path) -> None:
    expected = model.state_dict()
    wrong = [name for name in expected if name not in weights or weights[name].shape != expected[name].shape]
    extra = [name for name in weights if name not in expected]
    if wrong or extra:
        raise CheckpointError(
            f"{str(file)!r}: weights do not fit its own description; missing or of another shape: "
            f"{first_few(wrong) or 'none'}; not expected: {first_few(extra) or 'none'}"
        )
    broken = [
        name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()
    ]
    if broken:
        raise CheckpointError(f"{str(file)!r}: weights are not finite in {first_few(broken)}")
    model.load_state_dict(dict(weights))
