"""Routers: (B, E) gate logits in, weights whose rows sum to 1 out. One file each."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from veravox.registry import Registry


class Router(nn.Module, abc.ABC):
    """Chooses among experts. It may be supplied `experts`, their number, and `expert_names`.

    Attributes:
        sparse: whether it leaves experts out. Under a gate that sees the waveform or features those are then not
            run; under a gate that sees embeddings all have run already, and only weights become 0.
        train_all: whether experts that it leaves out run all the same while training.
        needs_costs: whether its option `costs` is filled in with measured costs of the experts where not given.
    """

    sparse: bool = False
    train_all: bool = False
    needs_costs: ClassVar[bool] = False

    @classmethod
    def example_options(cls, folder: Path) -> dict[str, Any]:
        """Options of a small one, as tests build it; what it needs on disk it writes to `folder`."""
        return {}

    @abc.abstractmethod
    def forward(self, gate_logits: Tensor) -> Tensor:
        """Weights (B, E); rows sum to 1; exactly 0 where an expert is not chosen."""


def load_imbalance(gate_logits: Tensor, gate_weights: Tensor) -> Tensor:
    """How unevenly a batch uses the experts: 1 if evenly, up to E if one expert does all; a loss term.

    E times the sum over experts of the share of decisions in which the expert has the largest weight, and
    its mean probability under the gate. The gradient flows through the probabilities alone.

    Args:
        gate_logits, gate_weights: (B, E).
    Source:
        Fedus et al., Switch Transformers, JMLR 2022, equation 4.
    """
    experts = gate_logits.shape[1]
    shares = nn.functional.one_hot(gate_weights.argmax(dim=1), experts).to(gate_logits.dtype).mean(dim=0)
    return experts * (shares * gate_logits.softmax(dim=1).mean(dim=0)).sum()


ROUTERS: Registry[Router] = Registry("router", "veravox.models.routers", Router)

__all__ = ["ROUTERS", "Router", "load_imbalance"]
