"""The k experts that the gate prefers."""

from __future__ import annotations

import torch
from torch import Tensor

from veravox.errors import ConfigurationError
from veravox.models.routers import ROUTERS
from veravox.models.routers.sparse import SparseRouter


@ROUTERS.register("top_k")
class TopKRouter(SparseRouter):
    """The k experts of the largest gate logits.

    Args:
        k: experts that take part in each decision.
        noise, train_all: see `SparseRouter`.

    Source:
        Shazeer et al., Outrageously Large Neural Networks, ICLR 2017.
    """

    def __init__(self, experts: int, k: int = 1, noise: float = 0.0, train_all: bool = False) -> None:
        super().__init__(noise, train_all)
        if not 1 <= k <= experts:
            raise ConfigurationError(f"router 'top_k': k = {k} of {experts} experts; choose 1 to {experts}")
        self.k = k
        self.sparse = k < experts

    def select(self, gate_logits: Tensor) -> Tensor:
        selected = gate_logits.topk(self.k, dim=-1).indices
        return torch.zeros_like(gate_logits, dtype=torch.bool).scatter(-1, selected, True)
