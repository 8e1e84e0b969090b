"""Analysis: how sharp a detector's minimum is, and what its loss looks like around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.analysis.landscape import loss_landscape as loss_landscape
    from veravox.analysis.sharpness import (
        Measure as Measure,
        measure_sharpness as measure_sharpness,
    )
    from veravox.analysis.sharpness_models import (
        draw_landscapes as draw_landscapes,
        find_models as find_models,
        measure_models as measure_models,
    )
    from veravox.analysis.sharpness_report import write_sharpness_report as write_sharpness_report
    from veravox.analysis.sharpness_table import (
        SharpnessTable as SharpnessTable,
        correlate as correlate,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
