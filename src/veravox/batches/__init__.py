"""Protocols become batches of windows: training crops and augments, scoring never."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.batches.chain import (
        Chain as Chain,
        build_chain as build_chain,
    )
    from veravox.batches.copies import (
        CopySynthesis as CopySynthesis,
        build_synthesis as build_synthesis,
    )
    from veravox.batches.pairing import (
        Draw as Draw,
        Pairing as Pairing,
    )
    from veravox.batches.scoring import (
        Trial as Trial,
        WindowChunk as WindowChunk,
        channels_differ as channels_differ,
        prefetch as prefetch,
        protocol_trials as protocol_trials,
        read_windows as read_windows,
        speech_windows as speech_windows,
    )
    from veravox.batches.splicing import (
        Splice as Splice,
        splice as splice,
    )
    from veravox.batches.training import (
        EpochSampler as EpochSampler,
        TrainingWindows as TrainingWindows,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
