"""Analysis of trained detectors: what gates choose, and how sharp the loss is around the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.analysis.gates.analyse import (
        GateReport as GateReport,
        analyse_gate as analyse_gate,
    )
    from veravox.analysis.gates.page import write_gates as write_gates
    from veravox.analysis.sharpness.landscape import loss_landscape as loss_landscape
    from veravox.analysis.sharpness.measure import (
        Measure as Measure,
        measure_sharpness as measure_sharpness,
    )
    from veravox.analysis.sharpness.models import (
        draw_landscapes as draw_landscapes,
        find_models as find_models,
        measure_models as measure_models,
    )
    from veravox.analysis.sharpness.page import write_sharpness_report as write_sharpness_report
    from veravox.analysis.sharpness.table import (
        SharpnessTable as SharpnessTable,
        correlate as correlate,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
