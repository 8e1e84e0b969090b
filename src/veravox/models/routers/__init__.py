"""Routers: (B, E) gate logits in, weights whose rows sum to 1 out. One file each."""

from __future__ import annotations

import abc

from torch import Tensor, nn

from veravox.registry import Registry


class Router(nn.Module, abc.ABC):
    """Chooses among experts."""

    @abc.abstractmethod
    def forward(self, gate_logits: Tensor) -> Tensor:
        """Weights (B, E); rows sum to 1; exactly 0 where an expert is not chosen."""


ROUTERS: Registry[Router] = Registry("router", "veravox.models.routers")

__all__ = ["ROUTERS", "Router"]
