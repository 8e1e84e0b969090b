"""The parts of a detector that learn apart: which are free, at which learning rate, and the others held still."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from veravox.errors import TrainingError, suggest
from veravox.models.detector import DetectorModel
from veravox.training.stages import Stage

Groups = Mapping[str, tuple[list[nn.Parameter], float]]
"""By part: its free parameters and their learning rate."""


def parts_of(detector: DetectorModel) -> dict[str, list[nn.Module]]:
    """Modules by the name of their part: every expert, `gate`, `front_ends`."""
    mixture = detector.mixture
    modules: dict[str, list[nn.Module]] = {name: [expert] for name, expert in mixture.experts.items()}
    return modules | {"gate": [mixture.gate, mixture.projections], "front_ends": [detector.front_ends]}


def frozen_children(detector: DetectorModel, stage: Stage) -> list[nn.Module]:
    """Modules inside parts that keep their weights: `lcnn_mel.trunk`.

    Raises:
        TrainingError: if a part has no such module.
    """
    frozen = []
    parts = parts_of(detector)
    for name in stage.training.freeze:
        part, dot, child = name.partition(".")
        if not dot:
            continue
        holder = parts[part][0] if part in parts else detector.mixture.experts
        children = dict(holder.named_modules())
        if not child or child not in children:
            near = suggest(child, [key for key in children if key and "." not in key])
            raise TrainingError(f"stage {stage.name!r} freezes {name!r}, but {part} has no part {child!r}; {near}")
        frozen.append(children[child])
    return frozen


def parameter_groups(detector: DetectorModel, stage: Stage) -> Groups:
    """Free parameters and learning rate of each part that learns; all other parameters are frozen.

    Parameters that a part's own options freeze stay frozen.

    Raises:
        TrainingError: if nothing is free.
    """
    frozen = stage.frozen_parts(detector.expert_names)
    held = {id(weight) for child in frozen_children(detector, stage) for weight in child.parameters()}
    may_learn = {id(weight) for name, weight in detector.named_parameters() if name in detector.trainable} - held
    groups = {}
    for name, members in parts_of(detector).items():
        parameters = [parameter for member in members for parameter in member.parameters()]
        for parameter in parameters:
            parameter.requires_grad_(name not in frozen and id(parameter) in may_learn)
        free = [parameter for parameter in parameters if parameter.requires_grad]
        if free:
            groups[name] = (free, _rate(name, stage))
    if not groups:
        raise TrainingError(f"stage {stage.name!r} has nothing to train: every part is frozen")
    return groups


def _rate(name: str, stage: Stage) -> float:
    rates = stage.training.learning_rates
    if name in rates:
        return rates[name]
    if name == "gate":
        return stage.gate_rate
    if name != "front_ends" and "experts" in rates:
        return rates["experts"]
    return stage.training.learning_rate


def clip_gradients(groups: Groups, largest: float) -> None:
    """Scale each part's gradient down to a norm of at most `largest`; 0 clips nothing."""
    if largest:
        for parameters, _ in groups.values():
            nn.utils.clip_grad_norm_(parameters, largest)


def freeze_to_eval(detector: DetectorModel, stage: Stage) -> None:
    """Parts that do not train stay in evaluation mode: no dropout, no batch-norm updates."""
    frozen = stage.frozen_parts(detector.expert_names)
    for name, members in parts_of(detector).items():
        if name in frozen:
            for member in members:
                member.eval()
    for child in frozen_children(detector, stage):
        child.eval()


__all__ = ["Groups", "clip_gradients", "freeze_to_eval", "parameter_groups", "parts_of"]
