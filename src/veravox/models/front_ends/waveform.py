"""The waveform itself, for experts that bring their own filters."""

from __future__ import annotations

from torch import Tensor

from veravox.models.front_ends import FRONT_ENDS, FrontEnd


@FRONT_ENDS.register("waveform")
class Waveform(FrontEnd):
    """The windows as they are, shape (B, S)."""

    captures = (
        "everything up to 8 kHz, phase and sample-level artefacts included; nothing is prepared for the expert"
    )

    def forward(self, windows: Tensor) -> Tensor:
        return windows
