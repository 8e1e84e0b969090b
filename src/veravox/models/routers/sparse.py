"""What routers that leave experts out share: noise, and weights of those selected."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from veravox.errors import ConfigurationError
from veravox.models.routers import Router


class SparseRouter(Router):
    """Softmax over the selected experts' gate logits; exactly 0 elsewhere.

    Where one expert is selected its weight is 1 whatever the gate says; while training, the gate then learns from
    what soft weights would have done with the experts that were run, those not run taken as undecided (logit 0).

    Args:
        noise: standard deviation of normal noise on the gate logits, while training only, so that experts
            that lose are tried too.
        train_all: run all experts while training, so that batch norms see whole batches and the gate also learns
            from the experts that it did not choose.
    """

    sparse = True

    def __init__(self, noise: float, train_all: bool) -> None:
        super().__init__()
        if noise < 0:
            raise ConfigurationError(f"a router's noise must not be negative, not {noise}")
        self.noise, self.train_all = noise, train_all

    @abc.abstractmethod
    def select(self, gate_logits: Tensor) -> Tensor:
        """Which experts take part, (B, E) boolean, at least one a row."""

    def forward(self, gate_logits: Tensor) -> Tensor:
        if self.training and self.noise:
            gate_logits = gate_logits + self.noise * torch.randn_like(gate_logits)
        selected = self.select(gate_logits)
        weights = gate_logits.masked_fill(~selected, -torch.inf).softmax(dim=-1)
        if self.training:
            alone = selected.sum(dim=-1, keepdim=True) == 1
            soft = gate_logits.softmax(dim=-1)
            weights = weights + (soft - soft.detach()).where(alone, 0.0)
        return weights


def by_preference(gate_logits: Tensor) -> Tensor:
    """Places of the experts (B, E), the most preferred first."""
    return gate_logits.topk(gate_logits.shape[-1], dim=-1).indices  # a top-k, so that a replayed pass keeps it
