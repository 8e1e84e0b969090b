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
    from veravox.evaluation import evaluate as evaluate
    from veravox.scoring import load_detector as load_detector, score as score, score_waveform as score_waveform
    from veravox.tables import (
        Calibration as Calibration,
        Protocol as Protocol,
        Scores as Scores,
        Segments as Segments,
        protocol_from_paths as protocol_from_paths,
        read_protocol as read_protocol,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)

__version__ = "0.1.0"
