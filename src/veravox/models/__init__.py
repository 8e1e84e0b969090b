"""What judges a window: front ends hear, experts judge, a gate weighs, a router chooses."""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "DetectorModel": "detector",
    "DetectorOutput": "detector",
    "DetectorSpec": "detector",
    "ExpertSpec": "detector",
    "EXPERTS": "experts",
    "Expert": "experts",
    "ExpertOutput": "experts",
    "FRONT_ENDS": "front_ends",
    "FrontEnd": "front_ends",
    "GATES": "gates",
    "Gate": "gates",
    "Mixture": "mixture",
    "MixtureOutput": "mixture",
    "ROUTERS": "routers",
    "Router": "routers",
    "Checkpoint": "checkpoint",
    "read_checkpoint": "checkpoint",
    "write_checkpoint": "checkpoint",
    "import_checkpoint": "import_weights",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"veravox.models.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'veravox.models' has no attribute {name!r}")
