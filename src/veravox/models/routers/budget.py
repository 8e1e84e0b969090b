"""The experts that a compute budget can afford."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from veravox.errors import ConfigurationError, suggest
from veravox.models.routers import ROUTERS
from veravox.models.routers.sparse import SparseRouter, by_preference


@ROUTERS.register("budget")
class BudgetRouter(SparseRouter):
    """Experts in order of their soft weight, each that the rest of a window's budget can still afford.

    Args:
        budget: what a window may cost, as a share of what all experts cost together, in (0, 1]. An expert that
            costs more than it never takes part.
        costs: of each expert, by name, in any one unit. Where not given, the detector measures the arithmetic of
            each expert and its front end.
        noise, train_all: see `SparseRouter`.
    """

    needs_costs = True
    costs: Tensor

    def __init__(
        self,
        experts: int,
        budget: float = 0.5,
        costs: Mapping[str, float] | None = None,
        expert_names: Sequence[str] = (),
        noise: float = 0.0,
        train_all: bool = False,
    ) -> None:
        super().__init__(noise, train_all)
        if not 0 < budget <= 1:
            raise ConfigurationError(f"router 'budget': budget must be in (0, 1], not {budget}")
        shares = _shares(costs, expert_names) if costs is not None else [1.0 / experts] * experts
        if min(shares) > budget + _ROUNDING:
            raise ConfigurationError(
                f"router 'budget': a budget of {budget:g} pays for no expert; the cheapest costs {min(shares):.3g}"
            )
        self.budget = budget
        self.register_buffer("costs", torch.tensor(shares, dtype=torch.float64), persistent=False)

    def select(self, gate_logits: Tensor) -> Tensor:
        order = by_preference(gate_logits)
        costs = self.costs[order]  # (B, E), the most preferred first
        left = torch.full_like(costs[..., 0], self.budget + _ROUNDING)
        selected = []
        for cost in costs.unbind(dim=-1):
            affordable = cost <= left
            left = left - cost.where(affordable, 0.0)
            selected.append(affordable)
        return torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, torch.stack(selected, dim=-1))


_ROUNDING = 1e-9
"""So that a budget of a half pays for two of four equal experts."""


def _shares(costs: Mapping[str, float], names: Sequence[str]) -> list[float]:
    for name in costs:
        if name not in names:
            raise ConfigurationError(f"router 'budget': costs of no expert {name!r}; {suggest(name, names)}")
    missing = [name for name in names if name not in costs]
    if missing:
        raise ConfigurationError(
            f"router 'budget': no cost for {', '.join(missing)}; give one, or no costs at all"
        )
    if not all(0 < cost < float("inf") for cost in costs.values()):
        raise ConfigurationError(f"router 'budget': costs must be positive, not {dict(costs)}")
    return [costs[name] / sum(costs.values()) for name in names]
