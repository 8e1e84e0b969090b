"""What judges a window: front ends hear, experts judge, a gate weighs, a router chooses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.models.checkpoint import (
        Checkpoint as Checkpoint,
        read_checkpoint as read_checkpoint,
        write_checkpoint as write_checkpoint,
    )
    from veravox.models.detector import (
        DetectorModel as DetectorModel,
        DetectorOutput as DetectorOutput,
        DetectorSpec as DetectorSpec,
        ExpertSpec as ExpertSpec,
    )
    from veravox.models.experts import (
        EXPERTS as EXPERTS,
        Expert as Expert,
        ExpertOutput as ExpertOutput,
    )
    from veravox.models.front_ends import (
        FRONT_ENDS as FRONT_ENDS,
        FrontEnd as FrontEnd,
    )
    from veravox.models.gates import (
        GATES as GATES,
        Gate as Gate,
    )
    from veravox.models.import_weights import import_checkpoint as import_checkpoint
    from veravox.models.mixture import (
        Mixture as Mixture,
        MixtureOutput as MixtureOutput,
    )
    from veravox.models.routers import (
        ROUTERS as ROUTERS,
        Router as Router,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
