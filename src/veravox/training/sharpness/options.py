"""Options of a sharpness-aware step: SAM and its relatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from veravox.errors import ConfigurationError
from veravox.registry import check_options


@dataclass(frozen=True)
class SharpnessAware:
    """How a sharpness-aware step perturbs the weights.

    Args:
        rho: length of the perturbation. A parameter group with a `rho` of its own uses that; 0 leaves it out.
        method: `sam`; `gsam` also shrinks the gap to the perturbed loss; `looksam` perturbs every `every` steps
            and reuses what it learned between; `esam` perturbs a random `share` of the parameters (give it half
            a batch as `ascent_loss`); `friendly` perturbs along what is special to the batch.
        adaptive: scale the perturbation by the weights' own size (ASAM); then rho is about ten times larger.
        scaled: which parameters `adaptive` scales: `all`, or, as its authors' code, the `weights`, those whose
            names hold that word; biases move plainly then.
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
        noise: dropout and other random draws of the second pass: `replayed` from the first, or `redrawn`, as the
            published code of the sharpness paper has it.
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
    scaled: Literal["all", "weights"] = "all"
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
    noise: Literal["replayed", "redrawn"] = "replayed"
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


__all__ = ["SharpnessAware"]
