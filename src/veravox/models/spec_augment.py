"""SpecAugment: bands of frequency and stretches of time blanked out, on features, in training only."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from veravox.errors import ConfigurationError


class SpecAugment(nn.Module):
    """Blank random bands and stretches of each item; in evaluation mode it gives back what it got.

    Widths are uniform from 0 to their limit, places uniform; every item of a batch has its own. A blanked
    cell becomes the mean of its item, so that no level jumps. Draws come from a generator of the module's own
    on the CPU: they neither disturb nor depend on other random numbers.

    Args:
        frequency_masks: bands blanked per item.
        max_frequency_bins: widest band; narrower where all of them together would leave little.
        time_masks: stretches blanked per item.
        max_time_frames: longest stretch.
        max_time_share: the longest stretch as a share of all frames, where that is shorter.
        seed: of the generator; see `reseed`.
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

    def reseed(self, seed: int) -> None:
        """Start the draws anew, e.g. per epoch, so that a resumed run equals an unbroken one."""
        self._generator.manual_seed(seed)

    def forward(self, features: Tensor) -> Tensor:
        """Blank parts of spectral features.

        Args:
            features: shape (B, F, T): F bins, T frames.
        Returns:
            The same shape and type; a new tensor in training mode.
        """
        if not self.training:
            return features
        batch, bins, frames = features.shape
        widest = min(self.max_frequency_bins, bins // (self.frequency_masks + 1))
        longest = min(self.max_time_frames, int(self.max_time_share * frames))
        blank = self._blank(batch, bins, self.frequency_masks, widest)[:, :, None]
        blank = blank | self._blank(batch, frames, self.time_masks, longest)[:, None, :]
        means = features.mean(dim=(1, 2), keepdim=True)
        return torch.where(blank.to(features.device), means, features)

    def _blank(self, batch: int, size: int, masks: int, widest: int) -> Tensor:
        """Which of `size` places are blanked, shape (B, size), on the CPU."""
        draws = torch.rand(2, batch, masks, 1, generator=self._generator)
        width = (draws[0] * (widest + 1)).floor()
        start = (draws[1] * (size - width + 1)).floor()
        places = torch.arange(size)
        return ((places >= start) & (places < start + width)).any(dim=1)
