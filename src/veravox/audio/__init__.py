"""Any recording as mono float32 blocks at one rate; what it measures like; windows of it. Knows no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from veravox.lazy import attach

if TYPE_CHECKING:
    from veravox.audio.decode import (
        AudioInfo as AudioInfo,
        AudioStream as AudioStream,
        open_audio as open_audio,
        read_audio as read_audio,
        resample as resample,
        to_mono as to_mono,
    )
    from veravox.audio.find import (
        AUDIO_SUFFIXES as AUDIO_SUFFIXES,
        find_audio as find_audio,
    )
    from veravox.audio.level import (
        active_level as active_level,
        dbfs as dbfs,
        to_active_level as to_active_level,
    )
    from veravox.audio.limits import (
        Limits as Limits,
        current_limits as current_limits,
        set_limits as set_limits,
    )
    from veravox.audio.quality import (
        Quality as Quality,
        QualityMeter as QualityMeter,
    )
    from veravox.audio.speech import (
        SpeechFinder as SpeechFinder,
        SpeechMap as SpeechMap,
        find_speech as find_speech,
    )
    from veravox.audio.windows import (
        WindowPolicy as WindowPolicy,
        tile as tile,
        window_policy as window_policy,
    )
else:
    __getattr__, __dir__, __all__ = attach(__name__, __file__)
