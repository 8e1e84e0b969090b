"""Which weights a sharpness-aware step moves, and how far uphill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from veravox.errors import TrainingError, suggest
from veravox.training.sharpness.gradients import length_of, subtract_mean
from veravox.training.sharpness.options import SharpnessAware

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass
class Part:
    """Parameters that are perturbed together, and how far."""

    rho: float
    parameters: list[nn.Parameter]


class Perturbation:
    """The move between the passes.

    Args:
        options: of the step.
        optimizer: whose parameters may move.
        model: names the parameters, for options that go by names.
        count: steps taken before.
    """

    def __init__(
        self, options: SharpnessAware, optimizer: torch.optim.Optimizer, model: nn.Module | None, count: int
    ) -> None:
        self.options, self.optimizer, self.model, self.count = options, optimizer, model, count
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.indices = {parameter: index for index, parameter in enumerate(self.parameters)}

    def parts(self) -> list[Part]:
        """What is perturbed in this step; empty where rho is 0."""
        options = self.options
        now = options.rho_at(self.count)
        left_out = self._left_out()
        drawn = self._drawn()
        parts = []
        for group in self.optimizer.param_groups:
            rho = now if "rho" not in group else group["rho"] * (now / options.rho if options.rho else 1.0)
            members = [
                parameter
                for parameter in group["params"]
                if parameter.requires_grad and id(parameter) not in left_out and self.indices[parameter] in drawn
            ]
            if rho > 0 and members:
                parts.append(Part(rho, members))
        return parts

    def _left_out(self) -> set[int]:
        if not self.options.leave_out:
            return set()
        if self.model is None:
            raise TrainingError("leave_out names parts of a model; pass model= to the sharpness-aware step")
        members: dict[str, set[int]] = {name: set() for name in self.options.leave_out}
        words = set()
        for owner, module in self.model.named_modules():
            for name, parameter in module.named_parameters(prefix=owner, recurse=False):
                kinds = set(name.split("."))
                words |= kinds
                kinds |= {"norms"} if isinstance(module, NORMS) else set()
                kinds |= {"biases"} if "bias" in name.rpartition(".")[2] else set()
                for kind in kinds & set(members):
                    members[kind].add(id(parameter))
        for name, ids in members.items():
            if not ids and name not in ("norms", "biases"):
                raise TrainingError(f"leave_out: no parameter is called {name!r}; {suggest(name, words)}")
        return set().union(*members.values())

    def _drawn(self) -> set[int]:
        """Indices of the parameters that may move now: all, or a random share that processes agree on."""
        count = len(self.parameters)
        if self.options.method != "esam" or self.options.share == 1:
            return set(range(count))
        rng = np.random.default_rng((0x5A4D, self.count))
        return set(rng.choice(count, max(1, round(self.options.share * count)), replace=False).tolist())

    @torch.no_grad()
    def climb(self, parts: list[Part], means: Mapping[int, Tensor]) -> dict[int, Tensor]:
        """Move the weights uphill; the gradients are used up.

        Args:
            parts: as of `parts`.
            means: running means of the gradients so far, by the parameter's index (`friendly`).
        Returns:
            The new running means; empty for other methods.
        """
        options, vectors = self.options, {}
        if options.method == "friendly":
            vectors = subtract_mean(self.parameters, means, options.decay, options.sigma)
        lengths = []
        scaled = self._scaled()
        for part in parts:
            part.parameters = [parameter for parameter in part.parameters if parameter.grad is not None]
            if options.adaptive:
                for parameter in filter(scaled, part.parameters):
                    _gradient(parameter).mul_(parameter.abs().add_(options.eta))
            lengths.append(length_of([_gradient(parameter) for parameter in part.parameters]))
        given = [length for length in lengths if length is not None]
        if options.length_over == "all" and given:
            joint = torch.stack([length.to(given[0].device) for length in given]).norm()
            lengths = [joint] * len(parts)
        for part, length in zip(parts, lengths, strict=True):
            if length is None or not part.parameters:
                continue
            factor = torch.where(length > 0, part.rho / length, torch.zeros_like(length))
            for parameter in part.parameters:
                uphill = _gradient(parameter)
                if options.adaptive and scaled(parameter):
                    uphill.mul_(parameter.abs().add_(options.eta))
                parameter.add_(uphill.mul_(factor.to(uphill.device)))
        return vectors

    def _scaled(self) -> Callable[[nn.Parameter], bool]:
        """Whether the adaptive step scales a parameter by its size."""
        if not self.options.adaptive or self.options.scaled == "all":
            return lambda parameter: True
        if self.model is None:
            raise TrainingError("scaled='weights' goes by names; pass model= to the sharpness-aware step")
        weights = {id(parameter) for name, parameter in self.model.named_parameters() if "weight" in name}
        return lambda parameter: id(parameter) in weights


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


__all__ = ["NORMS", "Part", "Perturbation"]
