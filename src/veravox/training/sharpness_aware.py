"""One optimiser step with the gradient of a nearby, worse point: SAM and its relatives, around any optimiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError, TrainingError, suggest
from veravox.registry import check_options
from veravox.training.replaying import Replay

STATE_KEY = "sharpness_aware"
LossOfBatch = Callable[[], Tensor]
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(frozen=True)
class SharpnessAware:
    """How a sharpness-aware step perturbs the weights.

    Args:
        rho: length of the perturbation. A parameter group with a `rho` of its own uses that; 0 leaves it out.
        method: `sam`; `gsam` also shrinks the gap to the perturbed loss; `looksam` perturbs every `every` steps
            and reuses what it learned between; `esam` perturbs a random `share` of the parameters (give it half
            a batch as `ascent_loss`); `friendly` perturbs along what is special to the batch.
        adaptive: scale the perturbation by the weights' own size (ASAM); then rho is about ten times larger.
        leave_out: not perturbed: `norms`, `biases`, or parts of parameter names such as `gate` or `front_ends`.
        length_over: the perturbation has length rho over `all` parameters, or over each `group` (such as each
            expert) by itself.
        across: with several processes, `global` perturbs all alike, by the mean gradient; `local` each by its own.
        warm_up_steps: rho rises linearly from 0 over these.
        total_steps: by these rho has gone to `final_rho` along a cosine; None keeps it.
        final_rho: see `total_steps`.
        clip_norm: largest norm of the final gradient; 0 for none.
        eta: added to weights' sizes (`adaptive`).
        alpha: weight of the gap's gradient (`gsam`), or of the reused direction (`looksam`).
        every: see `looksam`.
        share: see `esam`.
        sigma, decay: share of the running mean taken away from the gradient, and its decay (`friendly`).
        keep_choices: top-k, argmax and multinomial choose in the second pass what they chose in the first.
        non_finite: `raise` on a loss or gradient that is not finite, or `skip` the step.
    Raises:
        ConfigurationError: for a value out of range.
    Source:
        Foret et al., ICLR 2021 (SAM); Kwon et al., ICML 2021 (ASAM, equation 8); Zhuang et al., ICLR 2022 (GSAM,
        algorithm 1); Liu et al., CVPR 2022 (LookSAM); Du et al., ICLR 2022 (ESAM); Li et al., CVPR 2024.
    """

    rho: float = 0.05
    method: Literal["sam", "gsam", "looksam", "esam", "friendly"] = "sam"
    adaptive: bool = False
    leave_out: tuple[str, ...] = ()
    length_over: Literal["all", "group"] = "all"
    across: Literal["global", "local"] = "global"
    warm_up_steps: int = 0
    total_steps: int | None = None
    final_rho: float = 0.0
    clip_norm: float = 0.0
    eta: float = 0.01
    alpha: float | None = None
    every: int = 5
    share: float = 0.5
    sigma: float = 1.0
    decay: float = 0.9
    keep_choices: bool = True
    non_finite: Literal["raise", "skip"] = "raise"

    def __post_init__(self) -> None:
        object.__setattr__(self, "leave_out", tuple(self.leave_out))
        check_options("the sharpness-aware step", SharpnessAware, vars(self))
        not_negative = ("rho", "final_rho", "warm_up_steps", "clip_norm", "eta", "sigma")
        for name in not_negative:
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigurationError(f"sharpness: {name} must be finite and not negative")
        if self.every < 1 or not 0 < self.share <= 1 or not 0 <= self.decay < 1:
            raise ConfigurationError("sharpness: every must be at least 1, share in (0, 1], decay in [0, 1)")
        if self.total_steps is not None and self.total_steps <= self.warm_up_steps:
            raise ConfigurationError("sharpness: total_steps must be more than warm_up_steps")

    def rho_at(self, step: int) -> float:
        """The perturbation's length at a step, from 0."""
        if step < self.warm_up_steps:
            return self.rho * step / self.warm_up_steps
        if self.total_steps is None:
            return self.rho
        done = min(1.0, (step - self.warm_up_steps) / (self.total_steps - self.warm_up_steps))
        return self.final_rho + (self.rho - self.final_rho) * 0.5 * (1.0 + math.cos(math.pi * done))

    @property
    def remembers(self) -> bool:
        """Whether a step depends on earlier ones; what it needs is kept in the optimiser's own state."""
        return (
            self.method in ("looksam", "esam", "friendly")
            or self.warm_up_steps > 0
            or self.total_steps is not None
        )

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        loss_of_batch: LossOfBatch | Sequence[LossOfBatch],
        *,
        model: nn.Module | None = None,
        ascent_loss: LossOfBatch | Sequence[LossOfBatch] | None = None,
        scaler: torch.amp.GradScaler | None = None,
        before_update: Callable[[], object] | None = None,
    ) -> Tensor:
        """One step; see `sharpness_aware_step`."""
        return _Step(self, optimizer, loss_of_batch, ascent_loss, model, scaler, before_update).run()


def sharpness_aware_step(
    optimizer: torch.optim.Optimizer,
    loss_of_batch: LossOfBatch | Sequence[LossOfBatch],
    rho: float = 0.05,
    *,
    model: nn.Module | None = None,
    ascent_loss: LossOfBatch | Sequence[LossOfBatch] | None = None,
    scaler: torch.amp.GradScaler | None = None,
    before_update: Callable[[], object] | None = None,
    **options: Any,
) -> Tensor:
    """Step the optimiser with the gradient at the weights moved by rho uphill; gives the loss of the first pass.

    Gradients are zeroed, computed, the weights moved, the gradients computed again, the weights put back bit by
    bit, then `optimizer.step()` runs once. The second pass uses the random numbers and choices of the first;
    batch-norm statistics come from the first alone. A step that fails leaves weights, statistics and generators
    as they were. What must outlive a step lies in `optimizer.state`, and so in the optimiser's checkpoint.

    Args:
        optimizer: any but one that asks for a closure.
        loss_of_batch: gives the scalar loss of the batch and calls no backward; of several (micro-batches, equally
            large) the mean counts, in both passes.
        rho: length of the perturbation.
        model: needed for `leave_out`, for a `local` perturbation, and for micro-batches under a parallel wrapper;
            otherwise every module that is called is watched.
        ascent_loss: the loss that the perturbation climbs, e.g. of half the batch; then that is pass 1.
        scaler: scales both losses; unscaled, stepped and updated here.
        before_update: called when gradients are final and unscaled, e.g. to clip them.
        options: fields of `SharpnessAware`.
    Returns:
        A scalar without gradient.
    Raises:
        TrainingError: for a loss that is no scalar, called backward itself, or is not finite.
        ConfigurationError: for an unknown option.
    Source:
        Foret et al., Sharpness-Aware Minimization for Efficiently Improving Generalization, ICLR 2021.
    """
    check_options("the sharpness-aware step", SharpnessAware, options)
    return SharpnessAware(rho=rho, **options).step(
        optimizer,
        loss_of_batch,
        model=model,
        ascent_loss=ascent_loss,
        scaler=scaler,
        before_update=before_update,
    )


@dataclass
class _Part:
    """Parameters that are perturbed together, and how far."""

    rho: float
    parameters: list[nn.Parameter]


class _Step:
    """One step from beginning to end."""

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
                with replay.first():
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

    def _two_passes(self, parts: list[_Part], replay: Replay) -> tuple[Tensor, Tensor]:
        climbs = self.ascent_losses or self.losses
        with replay.first():
            loss = self._backward(climbs, self.options.across == "local")
        self._make_plain()
        kept = [_copy(parameter.grad) for parameter in self.parameters] if self._combines() else []
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

    def _parts(self) -> list[_Part]:
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
                parts.append(_Part(rho, members))
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
    def _move(self, parts: list[_Part]) -> None:
        """Move the weights uphill; the gradients are used up."""
        if self.options.method == "friendly":
            self._take_mean_away()
        lengths = []
        for part in parts:
            part.parameters = [parameter for parameter in part.parameters if parameter.grad is not None]
            if self.options.adaptive:
                for parameter in part.parameters:
                    _gradient(parameter).mul_(parameter.abs().add_(self.options.eta))
            lengths.append(_length([_gradient(parameter) for parameter in part.parameters]))
        known = [length for length in lengths if length is not None]
        if self.options.length_over == "all" and known:
            joint = torch.stack([length.to(known[0].device) for length in known]).norm()
            lengths = [joint] * len(parts)
        for part, length in zip(parts, lengths, strict=True):
            if length is None or not part.parameters:
                continue
            factor = torch.where(length > 0, part.rho / length, torch.zeros_like(length))
            for parameter in part.parameters:
                uphill = _gradient(parameter)
                if self.options.adaptive:
                    uphill.mul_(parameter.abs().add_(self.options.eta))
                parameter.add_(uphill.mul_(factor.to(uphill.device)))

    def _take_mean_away(self) -> None:
        """Leave of each gradient what is special to this batch; remember the running mean."""
        means = self.memory.get("vectors", {})
        for place, parameter in enumerate(self.parameters):
            gradient = parameter.grad
            before = means.get(place)
            if gradient is None:
                if before is not None:
                    self.vectors[place] = before
                continue
            mean = (1.0 - self.options.decay) * gradient
            if before is not None:
                mean = mean + self.options.decay * before.to(gradient)
            self.vectors[place] = mean
            gradient.sub_(mean, alpha=self.options.sigma)

    def _combines(self) -> bool:
        return self.options.method in ("gsam", "looksam")

    def _reuses(self) -> bool:
        return (
            self.options.method == "looksam"
            and self.count % self.options.every != 0
            and bool(self.memory.get("vectors"))
        )

    @torch.no_grad()
    def _combine(self, first: list[Tensor | None]) -> None:
        """Make the final gradient of both passes' gradients."""
        pairs = [
            (place, before, parameter.grad)
            for place, (before, parameter) in enumerate(zip(first, self.parameters, strict=True))
            if before is not None and parameter.grad is not None
        ]
        if not pairs:
            return
        product = _total([(before * after).sum(dtype=_wide(after)) for _, before, after in pairs])
        if self.options.method == "gsam":
            alpha = 0.4 if self.options.alpha is None else self.options.alpha
            share = product / _total([after.square().sum(dtype=_wide(after)) for _, _, after in pairs]).clamp(
                min=1e-30
            )
            for _, before, after in pairs:
                # The part of the first gradient across the second one is what widens the gap.
                after.mul_(1.0 + alpha * share.to(after)).sub_(before, alpha=alpha)
            return
        share = product / _total([before.square().sum(dtype=_wide(before)) for _, before, _ in pairs]).clamp(
            min=1e-30
        )
        for place, before, after in pairs:
            self.vectors[place] = after - share.to(after) * before

    @torch.no_grad()
    def _add_reused(self) -> None:
        """Add the remembered direction, as long as `alpha` times the gradient."""
        self.vectors = dict(self.memory["vectors"])
        here = [
            (parameter.grad, self.vectors[place].to(parameter.grad))
            for place, parameter in enumerate(self.parameters)
            if parameter.grad is not None and place in self.vectors
        ]
        if not here:
            return
        alpha = 0.7 if self.options.alpha is None else self.options.alpha
        gradient, direction = _length([pair[0] for pair in here]), _length([pair[1] for pair in here])
        assert gradient is not None
        assert direction is not None
        factor = torch.where(direction > 0, alpha * gradient / direction, torch.zeros_like(direction))
        for own, reused in here:
            own.add_(reused * factor.to(own))

    def _finish(self, finite: Tensor) -> bool:
        """Clip, check, step; False if the step was skipped. Here alone the host waits for the device."""
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        if not gradients:
            raise TrainingError("no parameter of the optimiser has a gradient; does the loss depend on them?")
        with torch.no_grad():
            length = _length(gradients)
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


def _copy(gradient: Tensor | None) -> Tensor | None:
    return None if gradient is None else gradient.detach().clone()


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _length(tensors: Sequence[Tensor]) -> Tensor | None:
    """L2 length of all together, in float32 whatever their type; None of none."""
    if not tensors:
        return None
    device = tensors[0].device
    lengths = [torch.linalg.vector_norm(tensor, dtype=_wide(tensor)).to(device) for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack([length.to(lengths[0].dtype) for length in lengths]))


def _wide(tensor: Tensor) -> torch.dtype:
    return tensor.dtype if tensor.dtype == torch.float64 else torch.float32


def _total(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.to(parts[0].device) for part in parts]).sum()


__all__ = ["STATE_KEY", "SharpnessAware", "sharpness_aware_step"]
