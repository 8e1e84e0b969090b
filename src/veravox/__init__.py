"""veravox: is this voice human or made by a machine?

Everything public loads on first use, so that `import veravox` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox import (
        analysis as analysis,
        audio as audio,
        augment as augment,
        batches as batches,
        corpora as corpora,
        degradation as degradation,
        errors as errors,
        evaluation as evaluation,
        models as models,
        recipes as recipes,
        scoring as scoring,
        training as training,
    )
    from veravox.audio import read_audio as read_audio
    from veravox.augment import Augmentation as Augmentation, RawBoost as RawBoost
    from veravox.corpora import read_segments as read_segments
    from veravox.degradation import degrade as degrade
    from veravox.errors import VeravoxError as VeravoxError
    from veravox.evaluation import (
        calibrate as calibrate,
        cllr as cllr,
        compare_scores as compare,  # noqa: F401
        equal_error_rate as equal_error_rate,
        evaluate as evaluate,
        fit_fusion as fuse,  # noqa: F401
        min_dcf as min_dcf,
        min_tdcf as min_tdcf,
        read_scores as read_scores,
    )
    from veravox.models import EXPERTS as EXPERTS, GATES as GATES
    from veravox.recipes import list_recipes as list_recipes, recipe as recipe
    from veravox.scoring import (
        Detector as Detector,
        Prediction as Prediction,
        Verdict as Verdict,
        list_models as list_models,
        load_detector as load_detector,
        merge as merge,
        score as score,
        score_waveform as score_waveform,
    )
    from veravox.tables import (
        Calibration as Calibration,
        Protocol as Protocol,
        Scores as Scores,
        Segments as Segments,
        protocol_from_paths as protocol_from_paths,
        read_protocol as read_protocol,
    )
    from veravox.training import (
        Recipe as Recipe,
        SharpnessAware as SharpnessAware,
        fit as train,  # noqa: F401
        read_recipe as read_recipe,
        sharpness_aware_step as sharpness_aware_step,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)

__version__ = "0.1.0"
