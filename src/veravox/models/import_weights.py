"""Checkpoints of other people's code, read strictly into our experts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from veravox.errors import CheckpointError, ConfigurationError, first_few, suggest
from veravox.models.checkpoint import Checkpoint
from veravox.models.detector import DetectorModel, DetectorSpec
from veravox.models.experts.aasist import WINDOW_SAMPLES

NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
LINEAR = ("weight", "bias")
RECURRENT = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _fields(theirs: str, ours: str, fields: tuple[str, ...]) -> dict[str, str]:
    return {f"{theirs}.{field}": f"{ours}.{field}" for field in fields}


def _graph_attention(theirs: str, ours: str) -> dict[str, str]:
    return {
        f"{theirs}.att_weight": f"{ours}.weight",
        **_fields(f"{theirs}.att_proj", f"{ours}.pair", LINEAR),
        **_node_projection(theirs, ours),
    }


def _node_projection(theirs: str, ours: str) -> dict[str, str]:
    return {
        **_fields(f"{theirs}.proj_with_att", f"{ours}.project.proj_attended", LINEAR),
        **_fields(f"{theirs}.proj_without_att", f"{ours}.project.proj_self", LINEAR),
        **_fields(f"{theirs}.bn", f"{ours}.project.normalise", NORM),
    }


def _mixed_attention(theirs: str, ours: str) -> dict[str, str]:
    return {
        f"{theirs}.att_weight11": f"{ours}.weight_temporal",
        f"{theirs}.att_weight22": f"{ours}.weight_spectral",
        f"{theirs}.att_weight12": f"{ours}.weight_across",
        f"{theirs}.att_weightM": f"{ours}.weight_master",
        **_fields(f"{theirs}.proj_type1", f"{ours}.proj_temporal", LINEAR),
        **_fields(f"{theirs}.proj_type2", f"{ours}.proj_spectral", LINEAR),
        **_fields(f"{theirs}.att_proj", f"{ours}.pair", LINEAR),
        **_fields(f"{theirs}.att_projM", f"{ours}.pair_master", LINEAR),
        **_fields(f"{theirs}.proj_with_attM", f"{ours}.proj_attended_master", LINEAR),
        **_fields(f"{theirs}.proj_without_attM", f"{ours}.proj_self_master", LINEAR),
        **_node_projection(theirs, ours),
    }


def _encoder_block(index: int) -> dict[str, str]:
    theirs, ours = f"encoder.{index}.0", f"encoder.{index}"
    return {
        **(_fields(f"{theirs}.bn1", f"{ours}.discarded", NORM) if index else {}),
        **_fields(f"{theirs}.conv1", f"{ours}.conv1", LINEAR),
        **_fields(f"{theirs}.bn2", f"{ours}.normalise", NORM),
        **_fields(f"{theirs}.conv2", f"{ours}.conv2", LINEAR),
        **(_fields(f"{theirs}.conv_downsample", f"{ours}.skip", LINEAR) if index in (0, 2) else {}),
    }


def aasist_names() -> dict[str, str]:
    """Names in the official AASIST checkpoints, to names in our `aasist` and `aasist_l`."""
    names = {"pos_S": "graph.positions", **_fields("first_bn", "normalise", NORM)}
    for index in range(6):
        names |= _encoder_block(index)
    names |= _graph_attention("GAT_layer_S", "graph.attend_spectral")
    names |= _graph_attention("GAT_layer_T", "graph.attend_temporal")
    names |= _fields("pool_S.proj", "graph.pool_spectral.score", LINEAR)
    names |= _fields("pool_T.proj", "graph.pool_temporal.score", LINEAR)
    for branch in (1, 2):
        ours = f"graph.branches.{branch - 1}"
        names[f"master{branch}"] = f"{ours}.master"
        names |= _mixed_attention(f"HtrgGAT_layer_ST{branch}1", f"{ours}.first")
        names |= _mixed_attention(f"HtrgGAT_layer_ST{branch}2", f"{ours}.second")
        names |= _fields(f"pool_hS{branch}.proj", f"{ours}.pool_spectral.score", LINEAR)
        names |= _fields(f"pool_hT{branch}.proj", f"{ours}.pool_temporal.score", LINEAR)
    return names | _fields("out_layer", "head", LINEAR)


def rawnet2_names() -> dict[str, str]:
    """Names in the checkpoints of the ASVspoof 2021 baseline RawNet2, to names in our `rawnet2`."""
    names = {**_fields("first_bn", "normalise", NORM), **_fields("bn_before_gru", "norm_gru", NORM)}
    for index in range(6):
        theirs, ours = f"block{index}.0", f"blocks.{index}"
        if index:
            names |= _fields(f"{theirs}.bn1", f"{ours}.norm1", NORM)
        names |= _fields(f"{theirs}.conv1", f"{ours}.conv1", LINEAR)
        names |= _fields(f"{theirs}.bn2", f"{ours}.norm2", NORM)
        names |= _fields(f"{theirs}.conv2", f"{ours}.conv2", LINEAR)
        names |= _fields(f"fc_attention{index}.0", f"{ours}.scale", LINEAR)
    names |= _fields("block2.0.conv_downsample", "blocks.2.skip", LINEAR)
    for layer in range(3):
        names |= {f"gru.{part}_l{layer}": f"gru.{part}_l{layer}" for part in RECURRENT}
    return names | _fields("fc1_gru", "embed", LINEAR) | _fields("fc2_gru", "head", LINEAR)


IMPORTABLE: Mapping[str, Callable[[], dict[str, str]]] = {
    "aasist": aasist_names,
    "aasist_l": aasist_names,
    "rawnet2": rawnet2_names,
}
OPTIONS: Mapping[str, Mapping[str, object]] = {"rawnet2": {"published": True}}
"""What an expert must be told to compute as its official weights want."""


def import_checkpoint(path: str | os.PathLike[str], expert: str) -> Checkpoint:
    """A detector of one expert with the weights of a foreign PyTorch file; runs no code from the file.

    Args:
        path: a state dict, as `torch.save` writes it.
        expert: what it is: `aasist`, `aasist_l`, or `rawnet2` (ASVspoof 2021 baseline).
    Raises:
        ConfigurationError: if weights of this expert cannot be imported.
        CheckpointError: if the file is no state dict, or a name or shape in it does not fit; each is named.
    """
    if expert not in IMPORTABLE:
        raise ConfigurationError(f"cannot import weights of expert {expert!r}; {suggest(expert, IMPORTABLE)}")
    weights = _read_state(Path(path))
    spec = DetectorSpec.parse(
        {
            "front_ends": {"waveform": "waveform"},
            "experts": {expert: {"front_end": "waveform", "name": expert, **OPTIONS.get(expert, {})}},
            "window_s": WINDOW_SAMPLES / 16000,
        }
    )
    detector = DetectorModel(spec)
    target = detector.mixture.experts[expert]
    target.load_state_dict(_renamed(weights, IMPORTABLE[expert](), target.state_dict(), path, expert))
    return Checkpoint(detector.eval(), provenance={"imported_from": Path(path).name}, source=str(path))


def _read_state(file: Path) -> dict[str, Tensor]:
    if not file.is_file():
        raise CheckpointError(f"no file at {str(file)!r}")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of the foreign reader
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{str(file)!r} is no PyTorch file of plain weights: {reason}") from error
    if not isinstance(content, Mapping) or not all(isinstance(item, Tensor) for item in content.values()):
        raise CheckpointError(
            f"{str(file)!r} holds more than a state dict; save model.state_dict() alone and import that"
        )
    # Wrappers for several GPUs put one prefix before every name.
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def _renamed(
    weights: Mapping[str, Tensor],
    names: Mapping[str, str],
    expected: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    expert: str,
) -> dict[str, Tensor]:
    unknown = [name for name in weights if name not in names]
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
