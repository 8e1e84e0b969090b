"""A sharpness-aware step: two passes, the move between them, and what stays if one fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from veravox.errors import TrainingError
from veravox.registry import check_options
from veravox.training.sharpness.gradients import add_direction, gsam_gradient, length_of, orthogonal_part
from veravox.training.sharpness.options import SharpnessAware
from veravox.training.sharpness.perturbation import Part, Perturbation
from veravox.training.sharpness.replay import Replay

STATE_KEY = "sharpness_aware"
LossOfBatch = Callable[[], Tensor]


class SharpnessStep:
    """One step of an optimiser with the gradient of a nearby, worse point.

    Args:
        options: how the weights are perturbed.
        optimizer, loss_of_batch, model, ascent_loss, scaler, before_update: as of `sharpness_aware_step`.
    """

    def __init__(
        self,
        options: SharpnessAware,
        optimizer: torch.optim.Optimizer,
        loss_of_batch: LossOfBatch | Sequence[LossOfBatch],
        *,
        model: nn.Module | None = None,
        ascent_loss: LossOfBatch | Sequence[LossOfBatch] | None = None,
        scaler: torch.amp.GradScaler | None = None,
        before_update: Callable[[], object] | None = None,
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
        self.vectors: dict[int, Tensor] = {}
        self.perturbation = Perturbation(options, optimizer, model, self.count)

    def run(self) -> Tensor:
        """Take the step; gives the loss of the first pass."""
        options, parts = self.options, self.perturbation.parts()
        self.optimizer.zero_grad(set_to_none=True)
        devices = dict.fromkeys(parameter.device for parameter in self.parameters)
        replay = Replay(self.model, devices, options.keep_choices)
        try:
            if not parts or self._reuses():
                with replay.only():
                    loss = second = self._pass(self.losses, replay)
                self._unscale()
                self._add_reused(parts)
            else:
                with replay.first():
                    loss = self._pass(self.ascent_losses or self.losses, replay, options.across == "local")
                self._make_plain()
                first = self._gradients()
                with (
                    self._moved(parts),
                    replay.second(self.ascent_losses is None, options.noise == "replayed"),
                ):
                    second = self._pass(self.losses, replay)
                self._unscale()
                self._combine(first)
            if not self._finish(torch.isfinite(loss) & torch.isfinite(second)):
                self._undo(replay)
        except BaseException:
            self._undo(replay)
            raise
        return loss

    def _pass(self, losses: Sequence[LossOfBatch], replay: Replay, local: bool = False) -> Tensor:
        """Mean loss of the micro-batches, its gradient added up."""
        alone = getattr(self.model, "no_sync", None)
        if local and alone is None and _process_count() > 1:
            raise TrainingError("a local perturbation needs model=, wrapped as DistributedDataParallel")
        total: Tensor | None = None
        for index, loss_of_batch in enumerate(losses):
            quiet = alone is not None and (local or index < len(losses) - 1)
            with alone() if quiet and alone is not None else nullcontext(), torch.enable_grad():
                loss = self._checked(loss_of_batch(), first=index == 0) / len(losses)
                with replay.statistics_of_forward():
                    (loss if self.scaler is None else self.scaler.scale(loss)).backward()
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        return total

    @contextmanager
    def _moved(self, parts: list[Part]) -> Iterator[None]:
        """Meanwhile the weights are uphill, along the gradients of the first pass, which are used up."""
        moved = [parameter for part in parts for parameter in part.parameters if parameter.grad is not None]
        backup = [parameter.detach().clone() for parameter in moved]
        try:
            self.vectors = self.perturbation.climb(parts, self.memory.get("vectors", {}))
            self.optimizer.zero_grad(set_to_none=True)
            torch.clear_autocast_cache()  # low-precision copies of the weights would outlive the move
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(moved, backup, strict=True):
                    parameter.copy_(value)
            torch.clear_autocast_cache()

    def _undo(self, replay: Replay) -> None:
        replay.undo()
        self.optimizer.zero_grad(set_to_none=True)

    def _unscale(self) -> None:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)

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

    def _gradients(self) -> list[Tensor | None]:
        """A copy for methods that combine both passes, as the move uses the gradients up; else empty."""
        if self.options.method not in ("gsam", "looksam"):
            return []
        return [None if one.grad is None else one.grad.detach().clone() for one in self.parameters]

    def _reuses(self) -> bool:
        return (
            self.options.method == "looksam"
            and self.count % self.options.every != 0
            and bool(self.memory.get("vectors"))
        )

    def _combine(self, first: list[Tensor | None]) -> None:
        """Make the final gradient of both passes' gradients, or remember what they teach."""
        if not first:
            return
        both = {
            index: (before, parameter.grad)
            for index, (before, parameter) in enumerate(zip(first, self.parameters, strict=True))
            if before is not None and parameter.grad is not None
        }
        if not both:
            return
        if self.options.method == "gsam":
            gsam_gradient(list(both.values()), 0.4 if self.options.alpha is None else self.options.alpha)
        else:
            self.vectors = dict(zip(both, orthogonal_part(list(both.values())), strict=True))

    def _add_reused(self, parts: list[Part]) -> None:
        if not parts:
            return
        self.vectors = dict(self.memory["vectors"])
        pairs = [
            (parameter.grad, self.vectors[index].to(parameter.grad))
            for index, parameter in enumerate(self.parameters)
            if parameter.grad is not None and index in self.vectors
        ]
        add_direction(pairs, 0.7 if self.options.alpha is None else self.options.alpha)

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
        model: for `leave_out`, `scaled`, a `local` perturbation, and micro-batches under a parallel wrapper;
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
    return SharpnessStep(
        SharpnessAware(rho=rho, **options),
        optimizer,
        loss_of_batch,
        model=model,
        ascent_loss=ascent_loss,
        scaler=scaler,
        before_update=before_update,
    ).run()


def _listed(losses: LossOfBatch | Sequence[LossOfBatch]) -> list[LossOfBatch]:
    listed = [losses] if callable(losses) else list(losses)
    if not listed:
        raise TrainingError("there is no micro-batch to step on")
    return listed


def _described(loss: Any) -> str:
    return f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else repr(loss)


def _process_count() -> int:
    distributed = torch.distributed
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


__all__ = ["STATE_KEY", "LossOfBatch", "SharpnessStep", "sharpness_aware_step"]
