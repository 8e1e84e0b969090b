"""Every expert takes part."""

from __future__ import annotations

from torch import Tensor

from veravox.models.routers import ROUTERS, Router


@ROUTERS.register("soft")
class SoftRouter(Router):
    """Softmax over experts."""

    def forward(self, gate_logits: Tensor) -> Tensor:
        return gate_logits.softmax(dim=-1)
