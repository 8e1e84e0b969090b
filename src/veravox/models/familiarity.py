"""How far a window lies from what training contained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

DIRECTIONS = 32
LARGEST = 6.0
FITTED_ON = 8000
"""Windows that the directions are estimated from; more change nothing that a limit would show."""


class Familiarity(nn.Module):
    """Distance of features (B, F) from the subspace that training's features fill.

    Features are standardised, their main directions removed; what is left is strange. Unfitted, it finds
    everything familiar.

    Args:
        features: F.
        directions: how many main directions are known.
    Source:
        Tipping and Bishop, Probabilistic principal component analysis, JRSS B 1999: the residual of their model.
    """

    centre: Tensor
    spread: Tensor
    directions: Tensor

    def __init__(self, features: int, directions: int = DIRECTIONS) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.full((features,), torch.finfo(torch.float16).max))
        self.register_buffer("directions", torch.zeros(directions, features))

    @torch.no_grad()
    def fit(self, features: Tensor, seed: int = 0) -> None:
        """Learn the subspace of training's features (N, F), in half precision, in which a checkpoint keeps it."""
        generator = torch.Generator().manual_seed(seed)
        drawn = features[torch.randperm(len(features), generator=generator)[:FITTED_ON]].float()
        variance, centre = torch.var_mean(drawn, dim=0, correction=0)
        self.centre.copy_(centre.half())
        self.spread.copy_((variance + 1e-5).sqrt().half())
        standard = self._standard(drawn)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rank = min(len(self.directions) + 8, *standard.shape)
            _, _, directions = torch.pca_lowrank(standard, rank, center=True, niter=4)
        main = directions[:, : len(self.directions)].T.half()
        self.directions.zero_()[: len(main)] = main

    def forward(self, features: Tensor) -> Tensor:
        """Root mean square (B,) of what the main directions do not explain, in standard deviations."""
        standard = self._standard(features)
        known = standard @ self.directions.T
        unexplained = standard.square().sum(dim=1) - known.square().sum(dim=1)
        return (unexplained.clamp(min=0.0) / standard.shape[1]).sqrt()

    def _standard(self, features: Tensor) -> Tensor:
        return ((features.flatten(1) - self.centre) / self.spread).clamp(-LARGEST, LARGEST)
