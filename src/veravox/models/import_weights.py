"""Checkpoints of other people's code, read strictly into our experts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from veravox.errors import CheckpointError, ConfigurationError, first_few, suggest
from veravox.models.checkpoint import Checkpoint
from veravox.models.detector import SAMPLE_RATE_HZ, DetectorModel, DetectorSpec
from veravox.models.experts import EXPERTS, OfficialWeights

PREFIXES = ("module.", "_orig_mod.", "model.")
"""Before every name in the state dicts of wrapped models, alone or one after another."""


def importable() -> dict[str, OfficialWeights]:
    """How to read published weights, by the name of the expert; every expert that states it."""
    stated = {name: EXPERTS[name].official for name in EXPERTS.names()}  # type: ignore[attr-defined]
    return {name: official for name, official in stated.items() if official is not None}


def import_checkpoint(path: str | os.PathLike[str], expert: str) -> Checkpoint:
    """A detector of one expert with the weights of a foreign PyTorch file; runs no code from the file.

    Args:
        path: a state dict, as `torch.save` writes it, or a file with one inside; prefixes of wrappers are dropped.
        expert: what it is: `aasist`, `aasist_l`, or `rawnet2` (ASVspoof 2021 baseline).
    Raises:
        ConfigurationError: if weights of this expert cannot be imported.
        CheckpointError: if the file is no state dict, or a name or shape in it does not fit; each is named.
    """
    if expert not in importable():
        raise ConfigurationError(f"cannot import weights of expert {expert!r}; {suggest(expert, importable())}")
    official = importable()[expert]
    weights, wrapping = _read_state(Path(path))
    spec = DetectorSpec.parse(
        {
            "front_ends": {"waveform": "waveform"},
            "experts": {expert: {"front_end": "waveform", "name": expert, **official.options}},
            "window_s": official.window_samples / SAMPLE_RATE_HZ,
        }
    )
    detector = DetectorModel(spec)
    target = detector.mixture.experts[expert]
    target.load_state_dict(_renamed(weights, official.names, target.state_dict(), path, expert))
    provenance = {"imported_from": Path(path).name, **wrapping}
    return Checkpoint(detector.eval(), provenance=provenance, source=str(path))


def _read_state(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Weights by name, and what was around them: the `entry` of the file, the `prefix` of their names."""
    if not file.is_file():
        raise CheckpointError(f"no file at {str(file)!r}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of the foreign reader
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{str(file)!r} is no PyTorch file of plain weights: {reason}") from error
    weights, entry = _only_state(content, file)
    prefix = _shared_prefix(list(weights))
    wrapping = {key: value for key, value in (("entry", entry), ("prefix", prefix)) if value}
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}, wrapping


def _only_state(content: Any, file: Path) -> tuple[dict[str, Tensor], str]:
    """The state dict that a file is, or the only one that it holds, and the name of that."""
    if _is_state(content):
        return {str(name): tensor for name, tensor in content.items()}, ""
    inside = content.items() if isinstance(content, Mapping) else ()
    states = {str(key): value for key, value in inside if _is_state(value) and value}
    if len(states) != 1:
        which = f"several state dicts ({', '.join(states)})" if states else "more than a state dict"
        raise CheckpointError(f"{str(file)!r} holds {which}; save model.state_dict() alone and import that")
    entry, state = next(iter(states.items()))
    return {str(name): tensor for name, tensor in state.items()}, entry


def _is_state(content: Any) -> bool:
    return isinstance(content, Mapping) and all(isinstance(item, Tensor) for item in content.values())


def _shared_prefix(names: list[str]) -> str:
    """What wrappers put before every name: several GPUs, a compiled model, a training module."""
    prefix = ""
    while names:
        added = next((one for one in PREFIXES if all(name.startswith(prefix + one) for name in names)), None)
        if added is None:
            break
        prefix += added
    return prefix


def _renamed(
    weights: Mapping[str, Tensor],
    names: Mapping[str, str],
    expected: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    expert: str,
) -> dict[str, Tensor]:
    unknown = [name for name in weights if name not in names]
    # Norms counted no batches before torch 0.4.1.
    uncounted = [name for name in names if name not in weights and name.endswith("num_batches_tracked")]
    weights = {**weights, **{name: torch.zeros_like(expected[names[name]]) for name in uncounted}}
    missing = [name for name in names if name not in weights]
    misshaped = [
        f"{name} {tuple(weights[name].shape)} not {tuple(expected[ours].shape)}"
        for name, ours in names.items()
        if name in weights and weights[name].shape != expected[ours].shape
    ]
    problems = {"missing": missing, "not known": unknown, "of another shape": misshaped}
    found = [f"{what}: {first_few(items)}" for what, items in problems.items() if items]
    if found:
        raise CheckpointError(f"{str(path)!r} is no checkpoint of {expert!r}; {'; '.join(found)}")
    broken = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(f"{str(path)!r}: weights are not finite in {first_few(broken)}")
    return {ours: weights[name] for name, ours in names.items()}
