"""As many experts as it takes for the gate to be sure."""

from __future__ import annotations

import torch
from torch import Tensor

from veravox.errors import ConfigurationError
from veravox.models.routers import ROUTERS
from veravox.models.routers._chosen import SparseRouter, by_preference


@ROUTERS.register("confidence")
class ConfidenceRouter(SparseRouter):
    """Experts in order of their soft weight, until these add up to a threshold: one where the gate is sure.

    Args:
        threshold: sum of soft weights to reach, in (0, 1].
        most: experts that take part at most; None for all.
        noise, train_all: see `SparseRouter`.

    Source:
        Huang et al., Harder Tasks Need More Experts: Dynamic Routing in MoE Models, ACL 2024.
    """

    def __init__(
        self,
        experts: int,
        threshold: float = 0.7,
        most: int | None = None,
        noise: float = 0.0,
        train_all: bool = False,
    ) -> None:
        super().__init__(noise, train_all)
        if not 0 < threshold <= 1:
            raise ConfigurationError(f"router 'confidence': threshold must be in (0, 1], not {threshold}")
        if most is not None and not 1 <= most <= experts:
            raise ConfigurationError(
                f"router 'confidence': most = {most} of {experts} experts; choose 1 to {experts}"
            )
        self.threshold, self.most = threshold, most or experts

    def choose(self, gate_logits: Tensor) -> Tensor:
        order = by_preference(gate_logits)
        reached = gate_logits.softmax(dim=-1).gather(-1, order).cumsum(dim=-1) >= self.threshold
        reached[..., self.most - 1] = True
        last = reached.byte().argmax(dim=-1, keepdim=True)  # the first place that is enough
        places = torch.arange(order.shape[-1], device=order.device)
        return torch.zeros_like(reached).scatter(-1, order, places <= last)
