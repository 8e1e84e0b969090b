"""The parts of a detector that learn apart: which are free, at which learning rate, and the others held still."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from veravox.errors import TrainingError, suggest
from veravox.models.detector import DetectorModel
from veravox.training.recipe import Stage, Training

Groups = Mapping[str, tuple[list[nn.Parameter], float]]


def parts_of(detector: DetectorModel) -> dict[str, list[nn.Module]]:
    """Modules by the name of their part: every expert, `gate`, `front_ends`."""
    mixture = detector.mixture
    modules: dict[str, list[nn.Module]] = {name: [expert] for name, expert in mixture.experts.items()}
    return modules | {"gate": [mixture.gate, mixture.projections], "front_ends": [detector.front_ends]}


def frozen_parts(detector: DetectorModel, stage: Stage, training: Training) -> set[str]:
    """Names of the parts that keep all their weights in a stage."""
    frozen = {name for name in training.freeze if "." not in name}
    if "experts" in frozen:
        frozen |= set(detector.mixture.experts)
    if stage.trains == "experts":
        # A front end that experts share must not be pulled by one while another trains alone.
        frozen |= {"gate", "front_ends"}
    return frozen


def frozen_children(detector: DetectorModel, stage: Stage, training: Training) -> list[nn.Module]:
    """Modules inside parts that keep their weights: `lcnn_mel.trunk`.

    Raises:
        TrainingError: if a part has no such module.
    """
    found = []
    parts = parts_of(detector)
    for name in training.freeze:
        part, dot, child = name.partition(".")
        if not dot:
            continue
        holder = parts[part][0] if part in parts else detector.mixture.experts
        children = dict(holder.named_modules())
        if not child or child not in children:
            near = suggest(child, [key for key in children if key and "." not in key])
            raise TrainingError(f"stage {stage.name!r} freezes {name!r}, but {part} has no part {child!r}; {near}")
        found.append(children[child])
    return found


def parameter_groups(detector: DetectorModel, stage: Stage, training: Training) -> Groups:
    """Free parameters and learning rate of each part that learns; all other parameters are frozen.

    Parameters that a part's own options freeze stay frozen.

    Raises:
        TrainingError: if nothing is free.
    """
    frozen = frozen_parts(detector, stage, training)
    held = {id(one) for child in frozen_children(detector, stage, training) for one in child.parameters()}
    may_learn = {id(one) for name, one in detector.named_parameters() if name in detector.trainable} - held
    groups = {}
    for name, members in parts_of(detector).items():
        parameters = [parameter for member in members for parameter in member.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(name not in frozen and id(parameter) in may_learn)
        free = [parameter for parameter in parameters if parameter.requires_grad]
        if free:
            groups[name] = (free, _rate(name, training))
    if not groups:
        raise TrainingError(f"stage {stage.name!r} has nothing to train: every part is frozen")
    return groups


def _rate(name: str, training: Training) -> float:
    rates = training.learning_rates
    if name in rates:
        return rates[name]
    if name not in ("gate", "front_ends") and "experts" in rates:
        return rates["experts"]
    return training.gate_learning_rate or training.learning_rate if name == "gate" else training.learning_rate


def hold_frozen_parts(detector: DetectorModel, stage: Stage, training: Training) -> None:
    """Parts that do not train stay in evaluation mode: no dropout, no batch-norm updates."""
    frozen = frozen_parts(detector, stage, training)
    for name, members in parts_of(detector).items():
        if name in frozen:
            for member in members:
                member.eval()
    for child in frozen_children(detector, stage, training):
        child.eval()
