"""Experts and a gate joined: one logit a window, and whose it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from veravox.models.experts import Expert, ExpertOutput
from veravox.models.gates import GATES, Gate
from veravox.models.routers import ROUTERS, Router
from veravox.registry import Spec

Mixing = Literal["logits", "probabilities"]

MIN_NORM_WINDOWS = 2
"""Batch norms need two windows."""


@dataclass
class MixtureOutput:
    """What a mixture says of B windows.

    Attributes:
        logits: (B,) = sum over experts of weight x expert logit; where probabilities are mixed, sum of weight x
            (probability of bona fide - of spoof), from -1 to 1.
        expert_logits: (B, E); NaN where an expert was not run, and there its weight is exactly 0.
        gate_weights: (B, E); rows sum to 1.
        expert_outputs: each expert's own output, by name; NaN for windows that it was not run on.
        gate_logits: (B, E), before the router.
        strangeness: (B,), distance from what training contained (see `Familiarity`); None if unknown.
    """

    logits: Tensor
    expert_logits: Tensor
    gate_weights: Tensor
    expert_outputs: dict[str, ExpertOutput]
    gate_logits: Tensor
    strangeness: Tensor | None = None

    def averaged(self, rows: int) -> MixtureOutput:
        """Means of every `rows` windows in a row: (B, ...) to (B / rows, ...), of an expert where it was run."""

        def mean(part: Tensor) -> Tensor:
            return part.unflatten(0, (-1, rows)).nanmean(dim=1)

        outputs = {
            name: ExpertOutput(
                mean(output.logits),
                mean(output.embeddings),
                None if output.class_logits is None else mean(output.class_logits),
            )
            for name, output in self.expert_outputs.items()
        }
        return MixtureOutput(
            self.logits.unflatten(0, (-1, rows)).mean(dim=1),
            mean(self.expert_logits),
            mean(self.gate_weights),
            outputs,
            mean(self.gate_logits),
            None if self.strangeness is None else mean(self.strangeness),
        )


class Mixture(nn.Module):
    """Named experts, a gate that weighs them and a router that chooses.

    The mixture projects embeddings to one size where the experts' sizes differ.

    Args:
        experts: by name, in order.
        gate: spec of the gate.
        router: spec of the router.
        embedding_size: D of what the gate sees, where experts differ in size.
        window_samples: S.
        segments: windows in a row that belong together, for gates that look at them together.
        feature_shape: of one window's features, for a gate that sees them.
        mixing: whether the weights mix the experts' logits or their probabilities.
    """

    def __init__(
        self,
        experts: Mapping[str, Expert],
        gate: Spec,
        router: Spec,
        embedding_size: int,
        window_samples: int,
        segments: int = 1,
        feature_shape: tuple[int, ...] = (),
        mixing: Mixing = "logits",
    ) -> None:
        super().__init__()
        self.mixing = mixing
        self.experts = nn.ModuleDict(experts)
        sizes = {expert.embedding_size for expert in experts.values()}
        self.projections = nn.ModuleDict()
        if len(sizes) == 1:
            embedding_size = sizes.pop()
        elif getattr(GATES[gate.name], "sees", "embeddings") == "embeddings":
            for name, expert in experts.items():
                self.projections[name] = nn.Linear(expert.embedding_size, embedding_size)
        self.gate: Gate = GATES.build(
            gate,
            experts=len(experts),
            embedding_size=embedding_size,
            window_samples=window_samples,
            segments=segments,
            feature_shape=feature_shape,
        )
        self.router: Router = ROUTERS.build(router, experts=len(experts), expert_names=list(experts))

    @property
    def skips_unselected(self) -> bool:
        """Whether experts not chosen need not run: a sparse router under a gate that sees no embeddings."""
        return self.router.sparse and self.gate.sees != "embeddings"

    @property
    def routing(self) -> str:
        """How decisions are shared out and what that costs, in one sentence."""
        if not self.router.sparse:
            return "every expert takes part in every decision"
        if self.skips_unselected:
            while_training = " (while training, all are)" if self.router.train_all else ""
            return f"experts that are not chosen are not run{while_training}"
        return "experts that are not chosen get weight 0, but all are run: the gate sees their embeddings"

    def forward(self, features: Mapping[str, Tensor], seen: Tensor | None = None) -> MixtureOutput:
        """Judge windows with every expert.

        Args:
            features: each expert's features, by the expert's name.
            seen: what the gate sees, windows (B, S) or features; None if it sees embeddings.
        """
        outputs: dict[str, ExpertOutput] = {name: expert(features[name]) for name, expert in self.experts.items()}
        expert_logits = torch.stack([output.logits for output in outputs.values()], dim=1)
        gate_logits = self.gate(self._embeddings(outputs) if seen is None else seen)  # (B, E)
        weights = self.router(gate_logits)
        return MixtureOutput(self.mixed(weights, expert_logits), expert_logits, weights, outputs, gate_logits)

    def mixed(self, weights: Tensor, expert_logits: Tensor) -> Tensor:
        """The mixture's logits (B,) from weights and the experts' logits, both (B, E)."""
        parts = expert_logits if self.mixing == "logits" else torch.tanh(expert_logits / 2)
        return (weights * parts).sum(dim=1)

    def forward_selected(
        self, features: Mapping[str, Tensor], gate_logits: Tensor, weights: Tensor
    ) -> MixtureOutput:
        """Judge windows, each by the experts that were chosen for it.

        While training, an expert that was chosen for a single window judges it by its running statistics, since
        batch norms need two; and what did not run joins the logits with gradient 0, since processes that train
        together wait for every gradient.

        Args:
            features: each expert's features of the windows it was chosen for, in their order, by its name.
            gate_logits, weights: (B, E), of all windows.
        """
        outputs, idle = {}, []
        for index, (name, expert) in enumerate(self.experts.items()):
            rows = (weights[:, index] > 0).nonzero().squeeze(1)
            if len(rows):
                with frozen_batch_norm(expert) if len(rows) < MIN_NORM_WINDOWS else nullcontext():
                    outputs[name] = _scatter_output(expert(features[name]), rows, weights)
            else:
                outputs[name] = _nan_output(expert, weights)
                idle.append(expert)
        expert_logits = torch.stack([output.logits.to(weights.dtype) for output in outputs.values()], dim=1)
        logits = self.mixed(weights, expert_logits.where(weights > 0, 0.0))
        if self.training:
            logits = logits + zero_anchor(idle)
        return MixtureOutput(logits, expert_logits, weights, outputs, gate_logits)

    def _embeddings(self, outputs: Mapping[str, ExpertOutput]) -> Tensor:
        embeddings = [
            self.projections[name](output.embeddings) if name in self.projections else output.embeddings
            for name, output in outputs.items()
        ]
        return torch.stack(embeddings, dim=1)  # (B, E, D)


@contextmanager
def frozen_batch_norm(module: nn.Module) -> Iterator[None]:
    """Batch norms inside use what they gathered before, and gather nothing."""
    norms = [one for one in module.modules() if isinstance(one, _BatchNorm) and one.training]
    for norm in norms:
        norm.training = False
    try:
        yield
    finally:
        for norm in norms:
            norm.training = True


def zero_anchor(modules: Iterable[nn.Module]) -> Tensor | float:
    """Zero, with gradient 0 for every weight of these modules that may learn."""
    free = [one.sum() for module in modules for one in module.parameters() if one.requires_grad]
    return 0.0 * torch.stack(free).sum() if free else 0.0


def _scatter_output(output: ExpertOutput, rows: Tensor, weights: Tensor) -> ExpertOutput:
    """An output for some windows as one for all, NaN elsewhere."""
    if len(rows) == len(weights):
        return output

    def scatter(part: Tensor) -> Tensor:
        return part.new_full((len(weights), *part.shape[1:]), torch.nan).index_copy(0, rows, part)

    class_logits = None if output.class_logits is None else scatter(output.class_logits)
    return ExpertOutput(scatter(output.logits), scatter(output.embeddings), class_logits)


def _nan_output(expert: nn.Module, weights: Tensor) -> ExpertOutput:
    assert isinstance(expert, Expert)
    windows, size = len(weights), expert.embedding_size
    return ExpertOutput(weights.new_full((windows,), torch.nan), weights.new_full((windows, size), torch.nan))
