"""A sharpness-aware step from beginning to end: its passes, the move between them, and what stays if one fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from veravox.errors import TrainingError, suggest
from veravox.training.gradients import across_first, add_direction, length_of, narrow_gap, take_mean_away
from veravox.training.replaying import Replay

if TYPE_CHECKING:
    from veravox.training.sharpness_aware import SharpnessAware

STATE_KEY = "sharpness_aware"
LossOfBatch = Callable[[], Tensor]
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass
class Part:
    """Parameters that are perturbed together, and how far."""

    rho: float
    parameters: list[nn.Parameter]


class SharpnessStep:
    """One step; its arguments are those of `sharpness_aware_step`."""

    def __init__(
        self,
        options: SharpnessAware,
        optimizer: torch.optim.Optimizer,
        loss_of_batch: LossOfBatch | Sequence[LossOfBatch],
        ascent_loss: LossOfBatch | Sequence[LossOfBatch] | None,
        model: nn.Module | None,
        scaler: torch.amp.GradScaler | None,
        before_update: Callable[[], object] | None,
    ) -> None:
        if isinstance(optimizer, torch.optim.LBFGS):
            raise TrainingError("the sharpness-aware step needs an optimiser without closure, not LBFGS")
        self.options, self.optimizer, self.model = options, optimizer, model
        self.losses = _listed(loss_of_batch)
        self.ascent_losses = None if ascent_loss is None else _listed(ascent_loss)
        self.scaler = scaler if scaler is not None and scaler.is_enabled() else None
        self.before_update = before_update
        self.memory: Mapping[str, Any] = optimizer.state.get(STATE_KEY, {})  # type: ignore[call-overload]
        self.count = int(self.memory.get("step", 0))
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.places = {parameter: place for place, parameter in enumerate(self.parameters)}
        self.vectors: dict[int, Tensor] = {}

    def run(self) -> Tensor:
        devices = dict.fromkeys(parameter.device for parameter in self.parameters)
        parts = self._parts()
        self.optimizer.zero_grad(set_to_none=True)
        replay = Replay(self.model, devices, self.options.keep_choices)
        try:
            if not parts or self._reuses():
                with replay.only():
                    loss = self._backward(self.losses, False)
                if self.scaler is not None:
                    self.scaler.unscale_(self.optimizer)
                if parts:
                    self._add_reused()
                finite = torch.isfinite(loss)
            else:
                loss, finite = self._two_passes(parts, replay)
            done = self._finish(finite)
        except BaseException:
            replay.undo()
            self.optimizer.zero_grad(set_to_none=True)
            raise
        if not done:
            replay.undo()
            self.optimizer.zero_grad(set_to_none=True)
        return loss

    def _two_passes(self, parts: list[Part], replay: Replay) -> tuple[Tensor, Tensor]:
        climbs = self.ascent_losses or self.losses
        with replay.first():
            loss = self._backward(climbs, self.options.across == "local")
        self._make_plain()
        kept = self._gradients() if self.options.method in ("gsam", "looksam") else []
        moved = [parameter for part in parts for parameter in part.parameters if parameter.grad is not None]
        backup = [parameter.detach().clone() for parameter in moved]
        try:
            self._move(parts)
            self.optimizer.zero_grad(set_to_none=True)
            torch.clear_autocast_cache()  # low-precision copies of the weights would outlive the move
            with replay.second(same_batch=self.ascent_losses is None):
                second = self._backward(self.losses, False)
        finally:
            with torch.no_grad():
                for parameter, value in zip(moved, backup, strict=True):
                    parameter.copy_(value)
            torch.clear_autocast_cache()
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if kept:
            self._combine(kept)
        return loss, torch.isfinite(loss) & torch.isfinite(second)

    def _parts(self) -> list[Part]:
        """What is perturbed in this step; empty where rho is 0."""
        options = self.options
        now = options.rho_at(self.count)
        left_out = self._left_out()
        chosen = self._chosen()
        parts = []
        for group in self.optimizer.param_groups:
            rho = now if "rho" not in group else group["rho"] * (now / options.rho if options.rho else 1.0)
            members = [
                parameter
                for parameter in group["params"]
                if parameter.requires_grad and id(parameter) not in left_out and self.places[parameter] in chosen
            ]
            if rho > 0 and members:
                parts.append(Part(rho, members))
        return parts

    def _left_out(self) -> set[int]:
        if not self.options.leave_out:
            return set()
        if self.model is None:
            raise TrainingError("leave_out names parts of a model; pass model= to the sharpness-aware step")
        found: dict[str, set[int]] = {name: set() for name in self.options.leave_out}
        words = set()
        for owner, module in self.model.named_modules():
            for name, parameter in module.named_parameters(prefix=owner, recurse=False):
                kinds = set(name.split("."))
                words |= kinds
                kinds |= {"norms"} if isinstance(module, NORMS) else set()
                kinds |= {"biases"} if "bias" in name.rpartition(".")[2] else set()
                for kind in kinds & set(found):
                    found[kind].add(id(parameter))
        for name, members in found.items():
            if not members and name not in ("norms", "biases"):
                raise TrainingError(f"leave_out: no parameter is called {name!r}; {suggest(name, words)}")
        return set().union(*found.values())

    def _chosen(self) -> set[int]:
        """Places of the parameters that may move now: all, or a random share that processes agree on."""
        count = len(self.parameters)
        if self.options.method != "esam" or self.options.share == 1:
            return set(range(count))
        rng = np.random.default_rng((0x5A4D, self.count))
        return set(rng.choice(count, max(1, round(self.options.share * count)), replace=False).tolist())

    def _backward(self, losses: Sequence[LossOfBatch], local: bool) -> Tensor:
        """Mean loss of the micro-batches, its gradient added up."""
        alone = getattr(self.model, "no_sync", None)
        if local and alone is None and _processes() > 1:
            raise TrainingError("a local perturbation needs model=, wrapped as DistributedDataParallel")
        total: Tensor | None = None
        for place, loss_of_batch in enumerate(losses):
            quiet = alone is not None and (local or place < len(losses) - 1)
            with alone() if quiet and alone is not None else nullcontext(), torch.enable_grad():
                loss = self._checked(loss_of_batch(), first=place == 0) / len(losses)
                (loss if self.scaler is None else self.scaler.scale(loss)).backward()
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    def _checked(self, loss: Tensor, first: bool) -> Tensor:
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise TrainingError(f"loss_of_batch must return one scalar tensor, not {_described(loss)}")
        if first and any(parameter.grad is not None for parameter in self.parameters):
            raise TrainingError("loss_of_batch must not call backward; return the loss and the step does it")
        if not loss.requires_grad:
            raise TrainingError("loss_of_batch returned a loss without gradient; is it detached, or all frozen?")
        return loss.reshape(())

    @torch.no_grad()
    def _make_plain(self) -> None:
        """Gradients of pass 1 dense, and without the scaler's factor."""
        gradients = []
        for parameter in self.parameters:
            if parameter.grad is not None and parameter.grad.is_sparse:
                parameter.grad = parameter.grad.to_dense()
            if parameter.grad is not None:
                gradients.append(parameter.grad)
        if self.scaler is not None:
            for gradient in gradients:
                gradient.div_(self.scaler.scale(torch.ones((), device=gradient.device)))

    @torch.no_grad()
    def _move(self, parts: list[Part]) -> None:
        """Move the weights uphill; the gradients are used up."""
        options = self.options
        if options.method == "friendly":
            means = self.memory.get("vectors", {})
            self.vectors = take_mean_away(self.parameters, means, options.decay, options.sigma)
        lengths = []
        scaled = self._scaled()
        for part in parts:
            part.parameters = [parameter for parameter in part.parameters if parameter.grad is not None]
            if options.adaptive:
                for parameter in filter(scaled, part.parameters):
                    _gradient(parameter).mul_(parameter.abs().add_(options.eta))
            lengths.append(length_of([_gradient(parameter) for parameter in part.parameters]))
        known = [length for length in lengths if length is not None]
        if options.length_over == "all" and known:
            joint = torch.stack([length.to(known[0].device) for length in known]).norm()
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

    def _scaled(self) -> Callable[[nn.Parameter], bool]:
        """Whether the adaptive step scales a parameter by its size."""
        if not self.options.adaptive or self.options.scaled == "all":
            return lambda parameter: True
        if self.model is None:
            raise TrainingError("scaled='weights' goes by names; pass model= to the sharpness-aware step")
        weights = {id(parameter) for name, parameter in self.model.named_parameters() if "weight" in name}
        return lambda parameter: id(parameter) in weights

    def _gradients(self) -> list[Tensor | None]:
        """A copy, as the move uses the gradients up."""
        return [None if one.grad is None else one.grad.detach().clone() for one in self.parameters]

    def _reuses(self) -> bool:
        return (
            self.options.method == "looksam"
            and self.count % self.options.every != 0
            and bool(self.memory.get("vectors"))
        )

    def _combine(self, first: list[Tensor | None]) -> None:
        """Make the final gradient of both passes' gradients, or remember what they teach."""
        both = {
            place: (before, parameter.grad)
            for place, (before, parameter) in enumerate(zip(first, self.parameters, strict=True))
            if before is not None and parameter.grad is not None
        }
        if not both:
            return
        if self.options.method == "gsam":
            narrow_gap(list(both.values()), 0.4 if self.options.alpha is None else self.options.alpha)
        else:
            self.vectors = dict(zip(both, across_first(list(both.values())), strict=True))

    def _add_reused(self) -> None:
        self.vectors = dict(self.memory["vectors"])
        here = [
            (parameter.grad, self.vectors[place].to(parameter.grad))
            for place, parameter in enumerate(self.parameters)
            if parameter.grad is not None and place in self.vectors
        ]
        add_direction(here, 0.7 if self.options.alpha is None else self.options.alpha)

    def _finish(self, finite: Tensor) -> bool:
        """Clip, check, step; False if the step was skipped. Here alone the host waits for the device."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if not gradients:
            raise TrainingError("no parameter of the optimiser has a gradient; does the loss depend on them?")
        with torch.no_grad():
            length = length_of(gradients)
            assert length is not None
            if self.options.clip_norm:
                factor = (self.options.clip_norm / (length + 1e-6)).clamp(max=1.0)
                for gradient in gradients:
                    gradient.mul_(factor.to(gradient))
            sound = bool(finite.to(length.device) & torch.isfinite(length))
        if not sound and self.scaler is None and self.options.non_finite == "raise":
            raise TrainingError(
                "the loss or its gradient is not finite; the step was not taken and the weights are as before; "
                "lower the learning rate or rho, or pass non_finite='skip'"
            )
        if sound:
            if self.before_update is not None:
                self.before_update()
            if self.scaler is not None:
                self.scaler.step(self.optimizer)
            else:
                self.optimizer.step()
            if self.options.remembers:
                memory = {"step": self.count + 1, "vectors": self.vectors or self.memory.get("vectors", {})}
                self.optimizer.state[STATE_KEY] = memory  # type: ignore[index]
        if self.scaler is not None:
            self.scaler.update()
        return sound


def _listed(losses: LossOfBatch | Sequence[LossOfBatch]) -> list[LossOfBatch]:
    listed = [losses] if callable(losses) else list(losses)
    if not listed:
        raise TrainingError("there is no micro-batch to step on")
    return listed


def _described(loss: Any) -> str:
    return f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)


def _processes() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


__all__ = ["NORMS", "STATE_KEY", "LossOfBatch", "SharpnessStep"]
