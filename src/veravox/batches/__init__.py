"""Protocols become batches of windows: training crops and augments, scoring never."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.batches.pairing import (
        Draw as Draw,
        Pairing as Pairing,
    )
    from veravox.batches.scoring import (
        WindowChunk as WindowChunk,
        prefetch as prefetch,
        read_windows as read_windows,
    )
    from veravox.batches.training import (
        EpochSampler as EpochSampler,
        TrainingWindows as TrainingWindows,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
