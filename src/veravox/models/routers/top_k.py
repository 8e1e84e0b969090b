"""The k experts that the gate prefers."""

from __future__ import annotations

import torch
from torch import Tensor

from veravox.errors import ConfigurationError
from veravox.models.routers import ROUTERS, Router


@ROUTERS.register("top_k")
class TopKRouter(Router):
    """Softmax over the k largest gate logits; exactly 0 elsewhere.

    Args:
        k: experts that take part in each decision.
        noise: standard deviation of normal noise on the gate logits, while training only, so that experts
            that lose are tried too.

    Source:
        Shazeer et al., Outrageously Large Neural Networks, ICLR 2017.
    """

    def __init__(self, experts: int, k: int = 1, noise: float = 0.0) -> None:
        super().__init__()
        if not 1 <= k <= experts:
            raise ConfigurationError(f"router 'top_k': k = {k} of {experts} experts; choose 1 to {experts}")
        if noise < 0:
            raise ConfigurationError(f"router 'top_k': noise must not be negative, not {noise}")
        self.k, self.noise = k, noise
        self.sparse = k < experts

    def forward(self, gate_logits: Tensor) -> Tensor:
        if self.training and self.noise:
            gate_logits = gate_logits + self.noise * torch.randn_like(gate_logits)
        chosen = gate_logits.topk(self.k, dim=-1).indices
        left_out = torch.ones_like(gate_logits, dtype=torch.bool).scatter(-1, chosen, False)
        weights = gate_logits.masked_fill(left_out, -torch.inf).softmax(dim=-1)
        if self.training and self.k == 1:
            # One weight is 1 whatever the gate says, so the gate learns from what soft weights would have done.
            soft = gate_logits.softmax(dim=-1)
            weights = weights + (soft - soft.detach())
        return weights
