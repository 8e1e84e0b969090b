"""The loss around a detector's weights, along one or two directions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from veravox.analysis.sharpness.measure import LabelledWindows
from veravox.analysis.sharpness.weights import (
    Vector,
    WeightSpace,
    added,
    length,
    scaled,
    top_eigenvectors,
)
from veravox.errors import ConfigurationError
from veravox.models.detector import DetectorModel
from veravox.training.losses import weighted_cross_entropy

Directions = Literal["random", "hessian"]
HESSIAN_SHARE = 0.1


@dataclass(frozen=True)
class Landscape:
    """Mean loss at every point of a line or a square around the weights.

    Attributes:
        model: its name.
        directions: `random` (filter-normalised) or `hessian`.
        places: along each axis, shape (points,); 1 is a direction's whole length.
        losses: shape (points,) or (points, points): [first direction, second direction].
        eigenvalues: of the Hessian directions; empty for random ones.
    """

    model: str
    directions: Directions
    places: np.ndarray
    losses: np.ndarray
    eigenvalues: tuple[float, ...] = ()


def loss_landscape(
    detector: DetectorModel,
    batches: Sequence[LabelledWindows],
    directions: Directions = "random",
    dimensions: Literal[1, 2] = 1,
    points: int = 21,
    reach: float = 1.0,
    class_weights: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
    model: str = "",
    progress: Callable[[int], None] = lambda steps: None,
) -> Landscape:
    """Loss along filter-normalised random directions, or along those of largest curvature.

    Two detectors of one architecture get the same random draws. Hessian directions are a tenth as long as a
    filter-normalised one: they lie in few weights, where the loss rises much faster.

    Args:
        detector: in evaluation mode; its weights are restored.
        batches: over which the loss is averaged.
        points: along an axis; odd, so that the weights themselves are among them.
        reach: of an axis to either side.
        progress: called after each point.
    Raises:
        ConfigurationError: for an even number of points, or fewer than 3.
    Source:
        Li et al., Visualizing the Loss Landscape of Neural Nets, NeurIPS 2018.
    """
    if points < 3 or points % 2 == 0:
        raise ConfigurationError(f"a landscape needs an odd number of points from 3, not {points}")
    if not batches:
        raise ConfigurationError("a landscape needs at least one batch")
    detector.eval()
    space = WeightSpace(detector)
    sizes = [len(batch.targets) for batch in batches]

    def loss() -> Tensor:
        losses = [
            weighted_cross_entropy(detector(batch.windows).logits, batch.targets, class_weights) * size
            for batch, size in zip(batches, sizes, strict=True)
        ]
        return torch.stack(losses).sum() / sum(sizes)

    axes, eigenvalues = _axes(space, loss, directions, dimensions, seed)
    places = np.linspace(-reach, reach, points)
    losses = np.zeros((points,) * dimensions)
    for index in np.ndindex(losses.shape):
        terms = [(float(places[slot]), axis) for slot, axis in zip(index, axes, strict=True)]
        losses[index] = space.loss_at(loss, added(*terms))
        progress(1)
    return Landscape(model, directions, places, losses, eigenvalues)


def _axes(
    space: WeightSpace, loss: Callable[[], Tensor], directions: Directions, count: int, seed: int
) -> tuple[list[Vector], tuple[float, ...]]:
    generator = torch.Generator().manual_seed(seed)
    random = [space.filter_normalised(space.gaussian(generator)) for _ in range(count)]
    if directions == "random":
        return random, ()
    pairs = top_eigenvectors(space, loss, count, generator)
    axes = []
    for (_, vector), other in zip(pairs, random, strict=True):
        size = length(vector)
        axes.append(scaled(vector, HESSIAN_SHARE * length(other) / size if size > 0 else 0.0))
    return axes, tuple(value for value, _ in pairs)
