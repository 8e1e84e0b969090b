"""Detector and protocol in, scores and verdicts out; the one path that every door enters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.scoring.detector import (
        Detector as Detector,
        list_models as list_models,
        load_detector as load_detector,
        score as score,
        score_waveform as score_waveform,
    )
    from veravox.scoring.output import score_to_file as score_to_file
    from veravox.scoring.prediction import (
        Prediction as Prediction,
        predict as predict,
    )
    from veravox.scoring.recording_page import report as report
    from veravox.scoring.shards import merge as merge
    from veravox.scoring.verdict import (
        QualityWarning as QualityWarning,
        Verdict as Verdict,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
