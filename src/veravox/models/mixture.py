"""Experts and a gate joined: one logit a window, and whose it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from veravox.models.experts import Expert, ExpertOutput
from veravox.models.gates import GATES, Gate
from veravox.models.routers import ROUTERS, Router
from veravox.registry import Spec


@dataclass
class MixtureOutput:
    """What a mixture says of B windows.

    Attributes:
        logits: (B,) = sum over experts of weight x expert logit.
        expert_logits: (B, E).
        gate_weights: (B, E); rows sum to 1.
        expert_outputs: each expert's own output, by name.
    """

    logits: Tensor
    expert_logits: Tensor
    gate_weights: Tensor
    expert_outputs: dict[str, ExpertOutput]


class Mixture(nn.Module):
    """Named experts, a gate that weighs them and a router that chooses.

    The mixture projects embeddings to one size where the experts' sizes differ.

    Args:
        experts: by name, in order.
        gate: spec of the gate.
        router: spec of the router.
        embedding_size: D of what the gate sees, where experts differ in size.
        window_samples: S.
    """

    def __init__(
        self, experts: Mapping[str, Expert], gate: Spec, router: Spec, embedding_size: int, window_samples: int
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleDict(experts)
        sizes = {expert.embedding_size for expert in experts.values()}
        if len(sizes) == 1:
            embedding_size = sizes.pop()
            self.projections = nn.ModuleDict()
        else:
            self.projections = nn.ModuleDict(
                {name: nn.Linear(expert.embedding_size, embedding_size) for name, expert in experts.items()}
            )
        self.gate: Gate = GATES.build(
            gate, experts=len(experts), embedding_size=embedding_size, window_samples=window_samples
        )
        self.router: Router = ROUTERS.build(router)

    def forward(self, features: Mapping[str, Tensor], windows: Tensor) -> MixtureOutput:
        """Judge windows.

        Args:
            features: each expert's features, by the expert's name.
            windows: (B, S), for gates that see the waveform.
        """
        outputs: dict[str, ExpertOutput] = {name: expert(features[name]) for name, expert in self.experts.items()}
        expert_logits = torch.stack([output.logits for output in outputs.values()], dim=1)
        weights = self.router(self.gate(self._seen(outputs, windows)))  # (B, E)
        return MixtureOutput((weights * expert_logits).sum(dim=1), expert_logits, weights, outputs)

    def _seen(self, outputs: Mapping[str, ExpertOutput], windows: Tensor) -> Tensor:
        if self.gate.sees == "waveform":
            return windows
        embeddings = [
            self.projections[name](output.embeddings) if name in self.projections else output.embeddings
            for name, output in outputs.items()
        ]
        return torch.stack(embeddings, dim=1)  # (B, E, D)
