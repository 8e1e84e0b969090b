"""As many experts as it takes for the gate to be sure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from veravox.errors import ConfigurationError
from veravox.models.routers import ROUTERS
from veravox.models.routers.sparse import SparseRouter, by_preference


@ROUTERS.register("confidence")
class ConfidenceRouter(SparseRouter):
    """Experts in order of their soft weight, until these add up to a threshold: one where the gate is sure.

    Args:
        threshold: sum of soft weights to reach, in (0, 1].
        max_experts: largest number of experts that take part; None for all.
        noise, train_all: see `SparseRouter`.

    Source:
        Huang et al., Harder Tasks Need More Experts: Dynamic Routing in MoE Models, ACL 2024.
    """

    renamed_options: ClassVar[Mapping[str, str]] = {"most": "max_experts"}

    def __init__(
        self,
        experts: int,
        threshold: float = 0.7,
        max_experts: int | None = None,
        noise: float = 0.0,
        train_all: bool = False,
    ) -> None:
        super().__init__(noise, train_all)
        if not 0 < threshold <= 1:
            raise ConfigurationError(f"router 'confidence': threshold must be in (0, 1], not {threshold}")
        if max_experts is not None and not 1 <= max_experts <= experts:
            raise ConfigurationError(
                f"router 'confidence': max_experts = {max_experts} of {experts} experts; choose 1 to {experts}"
            )
        self.threshold, self.max_experts = threshold, max_experts or experts

    def select(self, gate_logits: Tensor) -> Tensor:
        order = by_preference(gate_logits)
        reached = gate_logits.softmax(dim=-1).gather(-1, order).cumsum(dim=-1) >= self.threshold
        reached[..., self.max_experts - 1] = True
        last = reached.byte().argmax(dim=-1, keepdim=True)  # the first place that is enough
        ranks = torch.arange(order.shape[-1], device=order.device)
        return torch.zeros_like(reached).scatter(-1, order, ranks <= last)
