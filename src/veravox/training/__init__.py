"""Training: recipes, losses, the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.training.cross_fit import (
        Promise as Promise,
        fit_crossed as fit_crossed,
    )
    from veravox.training.loop import fit as fit
    from veravox.training.losses import (
        mixture_loss as mixture_loss,
        smoothed_cross_entropy as smoothed_cross_entropy,
    )
    from veravox.training.ranks import Ranks as Ranks
    from veravox.training.recipe import (
        Recipe as Recipe,
        Stage as Stage,
        Training as Training,
        change as change,
        read_recipe as read_recipe,
    )
    from veravox.training.seeds import (
        SeedRun as SeedRun,
        SeedRuns as SeedRuns,
        fit_seeds as fit_seeds,
    )
    from veravox.training.sharpness_aware import (
        SharpnessAware as SharpnessAware,
        sharpness_aware_step as sharpness_aware_step,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
