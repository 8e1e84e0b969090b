"""Training: recipes, stages, losses, the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.training.cross_fit import (
        Promise as Promise,
        fit_crossed as fit_crossed,
    )
    from veravox.training.files import FileCheck as FileCheck
    from veravox.training.loop import (
        fit as fit,
        train_stage as train_stage,
    )
    from veravox.training.losses import (
        mixture_loss as mixture_loss,
        smoothed_cross_entropy as smoothed_cross_entropy,
    )
    from veravox.training.processes import Processes as Processes
    from veravox.training.recipe import (
        Recipe as Recipe,
        change as change,
        read_recipe as read_recipe,
    )
    from veravox.training.seeds import (
        SeedRun as SeedRun,
        SeedRuns as SeedRuns,
        fit_seeds as fit_seeds,
    )
    from veravox.training.settings import Training as Training
    from veravox.training.sharpness.options import SharpnessAware as SharpnessAware
    from veravox.training.sharpness.step import (
        SharpnessStep as SharpnessStep,
        sharpness_aware_step as sharpness_aware_step,
    )
    from veravox.training.stages import (
        Stage as Stage,
        TrainExperts as TrainExperts,
        TrainJointly as TrainJointly,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
