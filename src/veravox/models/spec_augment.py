"""SpecAugment: bands of frequency and stretches of time blanked out, on features, in training only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError


class SpecAugment(nn.Module):
    """Blank random bands and stretches of each item; in evaluation mode it gives back what it got.

    Widths are uniform from 0 to their limit, places uniform; every item of a batch has its own. A blanked
    cell becomes the mean of its item, so that no level jumps. The numbers that decide are given, or come from a
    generator of the module's own on the CPU: they neither disturb nor depend on other random numbers.

    Args:
        frequency_masks: bands blanked per item.
        max_frequency_bins: widest band; narrower where all of them together would leave little.
        time_masks: stretches blanked per item.
        max_time_frames: longest stretch.
        max_time_share: the longest stretch as a share of all frames, where that is shorter.
        seed: of the generator.
    Source:
        Park et al.: SpecAugment, Interspeech 2019 (without time warping).
    """

    def __init__(
        self,
        frequency_masks: int = 2,
        max_frequency_bins: int = 15,
        time_masks: int = 2,
        max_time_frames: int = 40,
        max_time_share: float = 0.2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(frequency_masks, max_frequency_bins, time_masks, max_time_frames) < 0:
            raise ConfigurationError("spec_augment: numbers of masks and their widths must not be negative")
        if not 0 <= max_time_share <= 1:
            raise ConfigurationError(f"spec_augment: max_time_share must be in [0, 1], not {max_time_share}")
        self.frequency_masks, self.max_frequency_bins = frequency_masks, max_frequency_bins
        self.time_masks, self.max_time_frames = time_masks, max_time_frames
        self.max_time_share = max_time_share
        self._generator = torch.Generator().manual_seed(seed)

    @property
    def numbers(self) -> int:
        """How many random numbers decide on the masks of one item."""
        return 2 * (self.frequency_masks + self.time_masks)

    def forward(self, features: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Blank parts of spectral features.

        Args:
            features: shape (B, F, T): F bins, T frames.
            numbers: in [0, 1), shape (B, `numbers`); zeros blank nothing. Drawn here where none are given.
        Returns:
            The same shape and type; a new tensor in training mode.
        """
        if not self.training:
            return features
        batch, bins, frames = features.shape
        if numbers is None:
            numbers = torch.rand(batch, self.numbers, generator=self._generator)
        numbers = numbers.to(features.device)
        widest = min(self.max_frequency_bins, bins // (self.frequency_masks + 1))
        longest = min(self.max_time_frames, int(self.max_time_share * frames))
        bands, stretches = numbers.split([2 * self.frequency_masks, 2 * self.time_masks], dim=1)
        blank = _blank(bands, bins, widest)[:, :, None] | _blank(stretches, frames, longest)[:, None, :]
        return torch.where(blank, features.mean(dim=(1, 2), keepdim=True), features)


def _blank(numbers: Tensor, size: int, widest: int) -> Tensor:
    """Which of `size` places are blanked, shape (B, size): half of the numbers are widths, half are starts."""
    draws = numbers.reshape(len(numbers), 2, -1, 1)
    width = (draws[:, 0] * (widest + 1)).floor()
    start = (draws[:, 1] * (size - width + 1)).floor()
    places = torch.arange(size, device=numbers.device)
    return ((places >= start) & (places < start + width)).any(dim=1)
