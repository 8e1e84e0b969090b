"""Degraded copies of a protocol's audio: suites of operations, their files, and a sheet that shows what they did.

`augment` transforms windows while training; here whole files are written once, repeatably, to be scored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.degradation.degraded_copies import (
        DegradeResult as DegradeResult,
        degrade as degrade,
    )
    from veravox.degradation.operations import (
        Degraded as Degraded,
        Operation as Operation,
    )
    from veravox.degradation.sheet import contact_sheet as contact_sheet
    from veravox.degradation.suites import (
        SUITES as SUITES,
        suite_operations as suite_operations,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
