"""What goes into a transform and what comes out of it, checked at one place."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from veravox.errors import AugmentationError, MissingDependencyError, VeravoxError

Transform = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def check_waveform(who: Callable[[], str], waveform: np.ndarray) -> None:
    """Check that something is a waveform.

    Raises:
        AugmentationError: if it is empty, not 1-D, or of whole numbers, whose full scale is not told.
    """
    if not isinstance(waveform, np.ndarray) or waveform.ndim != 1 or not waveform.size:
        raise AugmentationError(f"{who()} needs a waveform of shape (samples,), not empty")
    if not np.issubdtype(waveform.dtype, np.floating):
        raise AugmentationError(
            f"{who()} needs a waveform of floating-point numbers in [-1, 1], not {waveform.dtype}; "
            "divide by its full scale (32768 for int16)"
        )


def checked_call(
    who: Callable[[], str],
    transform: Transform,
    waveform: np.ndarray,
    sample_rate_hz: int,
    rng: np.random.Generator,
    keeps_length: bool = True,
) -> np.ndarray:
    """Call a transform; whatever goes wrong is an error that names it.

    Returns:
        float32, 1-D, finite, not empty, sharing no memory with `waveform`.
    Raises:
        AugmentationError: for an input or a result that is no waveform, or a transform that raised.
    """
    check_waveform(who, waveform)
    try:
        result = transform(waveform.astype(np.float32, copy=False), int(sample_rate_hz), rng)
    except (MissingDependencyError, MemoryError):
        raise
    except VeravoxError as error:
        raise AugmentationError(f"{who()} failed: {error}") from error
    except Exception as error:
        if not np.isfinite(waveform).all():
            raise AugmentationError(f"{who()} failed: the waveform holds values that are not finite") from error
        raise AugmentationError(f"{who()} failed: {type(error).__name__}: {error}") from error
    result = np.ascontiguousarray(result, dtype=np.float32)
    if result.ndim != 1 or (keeps_length and len(result) != len(waveform)) or not result.size:
        raise AugmentationError(f"{who()} failed: {len(waveform)} samples became an array of shape {result.shape}")
    if not np.isfinite(result.sum(dtype=np.float64)):
        culprit = "its result" if np.isfinite(waveform).all() else "the waveform"
        raise AugmentationError(f"{who()} failed: {culprit} holds values that are not finite")
    return result.copy() if np.shares_memory(result, waveform) else result
