"""A detector's loss as a function of its weights: moved along directions, and always put back."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from veravox.errors import ConfigurationError

Vector = list[Tensor]


def weighted_loss(logits: Tensor, targets: Tensor, class_weights: tuple[float, float] = (1.0, 1.0)) -> Tensor:
    """Cross-entropy of a batch, weighted by class and divided by the sum of the weights.

    Args:
        logits, targets: (B,); targets are 1 for bona fide.
        class_weights: of spoof and of bona fide.
    """
    weights = torch.where(targets > 0.5, class_weights[1], class_weights[0])
    losses = functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    return (weights * losses).sum() / weights.sum()


class WeightSpace:
    """The weights of a module that may learn, as one long vector.

    Args:
        module: whose parameters are moved; frozen ones stay.
    Raises:
        ConfigurationError: if every parameter is frozen.
    """

    def __init__(self, module: nn.Module) -> None:
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not self.parameters:
            raise ConfigurationError("every weight of the detector is frozen; there is nothing to move")
        self.count = sum(parameter.numel() for parameter in self.parameters)

    @contextmanager
    def moved(self, vector: Vector) -> Iterator[None]:
        """Add a vector to the weights; they are put back bit by bit."""
        backup = [parameter.detach().clone() for parameter in self.parameters]
        try:
            with torch.no_grad():
                for parameter, part in zip(self.parameters, vector, strict=True):
                    parameter.add_(part)
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self.parameters, backup, strict=True):
                    parameter.copy_(value)

    def loss_at(self, loss: Callable[[], Tensor], vector: Vector) -> float:
        """The loss at weights moved by a vector."""
        with self.moved(vector), torch.no_grad():
            return float(loss())

    def gradient(self, loss: Callable[[], Tensor]) -> tuple[float, Vector]:
        """The loss and its gradient at the weights as they are; zeros where a weight has none."""
        value = loss()
        found = torch.autograd.grad(value, self.parameters, allow_unused=True)
        return float(value.detach()), [
            torch.zeros_like(parameter) if part is None else part
            for parameter, part in zip(self.parameters, found, strict=True)
        ]

    def curvature_along(self, loss: Callable[[], Tensor], vector: Vector, step: float = 1e-2) -> Vector:
        """The Hessian times a vector, by central differences of the gradient.

        Args:
            step: how far the weights move to either side, L2.
        """
        size = length(vector)
        if size == 0:
            return [torch.zeros_like(part) for part in vector]
        factor = step / size
        with self.moved(scaled(vector, factor)):
            _, ahead = self.gradient(loss)
        with self.moved(scaled(vector, -factor)):
            _, behind = self.gradient(loss)
        return [(one - other) / (2 * factor) for one, other in zip(ahead, behind, strict=True)]

    def gaussian(self, generator: torch.Generator) -> Vector:
        """A standard normal vector, drawn on the CPU so that every device gets the same."""
        return [torch.randn(p.shape, generator=generator).to(p) for p in self.parameters]

    def filter_normalised(self, vector: Vector) -> Vector:
        """A direction whose every filter is as long as the weights' own; biases and norms stay.

        Source:
            Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018, section 4.
        """
        directions = []
        for parameter, part in zip(self.parameters, vector, strict=True):
            if parameter.ndim < 2:
                directions.append(torch.zeros_like(part))
                continue
            axes = tuple(range(1, parameter.ndim))
            own = torch.linalg.vector_norm(parameter.detach(), dim=axes, keepdim=True)
            directions.append(part * own / torch.linalg.vector_norm(part, dim=axes, keepdim=True).clamp(min=1e-12))
        return directions


def dot(one: Vector, other: Vector) -> float:
    """Inner product."""
    return float(torch.stack([(a * b).sum(dtype=torch.float64) for a, b in zip(one, other, strict=True)]).sum())


def length(vector: Vector) -> float:
    """L2 length."""
    return dot(vector, vector) ** 0.5


def scaled(vector: Vector, factor: float) -> Vector:
    """The vector times a number."""
    return [part * factor for part in vector]


def added(*terms: tuple[float, Vector]) -> Vector:
    """A sum of vectors, each times its number."""
    (factor, first), *others = terms
    total = scaled(first, factor)
    for factor, vector in others:
        total = [part + factor * more for part, more in zip(total, vector, strict=True)]
    return total


def top_eigenvectors(
    space: WeightSpace,
    loss: Callable[[], Tensor],
    count: int,
    generator: torch.Generator,
    rounds: int = 20,
    tolerance: float = 1e-2,
) -> list[tuple[float, Vector]]:
    """The largest eigenvalues of the loss's Hessian and their directions, by power iteration and deflation.

    An iteration that ends at a negative eigenvalue goes on from there with the Hessian shifted by it.

    Args:
        rounds: at most this many products each.
        tolerance: relative change of the eigenvalue at which to stop.
    """
    found: list[tuple[float, Vector]] = []
    for _ in range(count):
        value, vector = _power(space, loss, generator, found, 0.0, rounds, tolerance)
        if value < 0:
            value, vector = _power(space, loss, generator, found, -value, rounds, tolerance)
        found.append((value, vector))
    return found


def _power(
    space: WeightSpace,
    loss: Callable[[], Tensor],
    generator: torch.Generator,
    known: Sequence[tuple[float, Vector]],
    shift: float,
    rounds: int,
    tolerance: float,
) -> tuple[float, Vector]:
    vector, value = space.gaussian(generator), 0.0
    for _ in range(rounds):
        for _, other in known:
            vector = added((1.0, vector), (-dot(vector, other), other))
        size = length(vector)
        if size == 0:
            return 0.0, vector
        vector = scaled(vector, 1.0 / size)
        product = space.curvature_along(loss, vector)
        before, value = value, dot(vector, product)
        if abs(value - before) <= tolerance * abs(value):
            break
        vector, last = added((1.0, product), (shift, vector)), vector
    else:
        vector = last
    return value, vector
