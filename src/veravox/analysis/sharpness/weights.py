"""A detector's loss as a function of its weights: moved along directions, and always put back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError

Vector = list[Tensor]


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
        self.recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())

    def split(self, flat: Tensor) -> Vector:
        """One long tensor as a vector, part by part in the weights' shapes."""
        parts = flat.split([parameter.numel() for parameter in self.parameters])
        return [part.view_as(parameter) for part, parameter in zip(parts, self.parameters, strict=True)]

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
        # cuDNN has no gradient of recurrent layers in evaluation mode; torch's own kernels have.
        cudnn = torch.backends.cudnn
        with cudnn.flags(enabled=False) if self.recurrent else nullcontext():
            value = loss()
            gradients = torch.autograd.grad(value, self.parameters, allow_unused=True)
        return float(value.detach()), [
            torch.zeros_like(parameter) if part is None else part
            for parameter, part in zip(self.parameters, gradients, strict=True)
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
    start: Vector | None = None,
) -> list[tuple[float, Vector]]:
    """The largest eigenvalues of the loss's Hessian and their directions, largest first.

    Each round takes one product with the Hessian and the best combination of the vector, what is left of it, and
    the last move: some times fewer products than power iteration, and never caught by a large negative eigenvalue.

    Args:
        generator: of the first vectors.
        rounds: at most this many products each.
        tolerance: relative change of the eigenvalue at which to stop.
        start: the first vector, such as the gradient, which lies mostly along large eigenvalues; drawn if None.
    Source:
        Knyazev, Toward the Optimal Preconditioned Eigensolver, SIAM J. Sci. Comput. 2001 (LOBPCG, one vector).
    """
    pairs: list[tuple[float, Vector]] = []

    def product(flat: Tensor) -> Tensor:
        return _flat(space.curvature_along(loss, space.split(flat)))

    for _ in range(count):
        first, _ = _orthonormalise(_flat(space.gaussian(generator)), [])
        if start is not None and not pairs:
            # The drawn tenth reaches directions that the start may lack, and is all there is if the start is 0.
            first = _orthonormalise(_flat(start), [])[0] + 0.1 * first
        value, vector = _largest(product, first, [_flat(other) for _, other in pairs], rounds, tolerance)
        pairs.append((value, space.split(vector)))
    return pairs


def _largest(
    product: Callable[[Tensor], Tensor], first: Tensor, others: Sequence[Tensor], rounds: int, tolerance: float
) -> tuple[float, Tensor]:
    """Largest eigenvalue and its unit vector among those across the known ones."""
    start, size = _orthonormalise(first, others)
    if not size:
        return 0.0, start
    basis, images = [start], [product(start)]
    value, settled = -math.inf, 0
    for used in range(1, rounds + 1):
        products = [torch.stack([(one * image).sum(dtype=torch.float64) for image in images]) for one in basis]
        gram = torch.stack(products).cpu()
        values, vectors = torch.linalg.eigh((gram + gram.T) / 2)
        shares = vectors[:, -1].tolist()
        before, value = value, float(values[-1])
        vector, image = _combined(basis, shares), _combined(images, shares)
        settled = settled + 1 if abs(value - before) <= tolerance * abs(value) else 0
        if settled == 2 or used == rounds:
            break
        rest, size = _orthonormalise(image - value * vector, [*others, vector])
        if size <= 1e-6 * abs(value):
            break
        last = (_combined(basis[1:], shares[1:]), _combined(images[1:], shares[1:])) if basis[1:] else None
        basis, images = [vector, rest], [image, product(rest)]
        if last is not None:
            _extend_basis(basis, images, *last)
    return value, vector


def _extend_basis(basis: list[Tensor], images: list[Tensor], vector: Tensor, image: Tensor) -> None:
    """Add a vector and its image to an orthonormal basis, unless the basis holds nearly all of it."""
    shares = [float((one * vector).sum(dtype=torch.float64)) for one in basis]
    left = vector - _combined(basis, shares)
    size = float(left.norm())
    if size > 1e-3 * float(vector.norm()):
        basis.append(left / size)
        images.append((image - _combined(images[: len(shares)], shares)) / size)


def _orthonormalise(flat: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, float]:
    """The unit vector across the known ones, and how long it was."""
    for other in others:
        flat = flat - float((flat * other).sum(dtype=torch.float64)) * other
    size = float(flat.norm())
    return (flat / size if size > 0 else flat), size


def _combined(tensors: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    total = tensors[0] * shares[0]
    for tensor, share in zip(tensors[1:], shares[1:], strict=True):
        total.add_(tensor, alpha=share)
    return total


def _flat(vector: Vector) -> Tensor:
    return torch.cat([part.reshape(-1) for part in vector])
