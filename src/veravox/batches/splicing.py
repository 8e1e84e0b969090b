"""Partial spoofs: pieces of a spoofed copy inside its original, with labels per segment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from veravox.errors import AugmentationError
from veravox.tables import BONA_FIDE, SPOOF, Segments

MIN_GAP_S = 0.05
"""Shortest bona fide stretch; a piece nearer than this to an end reaches it."""


@dataclass(frozen=True)
class Splice:
    """A waveform that is spoofed in places; `pieces` are (start_s, end_s, label) and cover all of it."""

    waveform: np.ndarray
    pieces: tuple[tuple[float, float, str], ...]

    def segments(self, utterance_id: str) -> Segments:
        """The pieces as a table of one utterance."""
        rows = [(utterance_id, *piece) for piece in self.pieces]
        columns = ["utterance_id", "start_s", "end_s", "label"]
        return Segments(pl.DataFrame(rows, schema=columns, orient="row"), name=utterance_id)


def splice(
    bona_fide: np.ndarray,
    spoof: np.ndarray,
    sample_rate_hz: int,
    rng: np.random.Generator,
    max_pieces: int = 3,
    min_piece_s: float = 0.2,
    max_piece_s: float = 1.5,
    fade_s: float = 0.005,
) -> Splice:
    """Put random pieces of a spoofed copy in their places in the original, with short cross-fades.

    Args:
        bona_fide: float32, shape (samples,).
        spoof: the aligned copy, the same shape.
        sample_rate_hz: of both.
        rng: chooses number, places and lengths.
        max_pieces: at most; as many as fit, at least one.
        min_piece_s: shortest piece; with `max_piece_s`.
        fade_s: length of a cross-fade, centred on its border.
    Raises:
        AugmentationError: if the two differ in length, or the shortest piece does not fit.
    """
    samples, shortest = len(bona_fide), round(min_piece_s * sample_rate_hz)
    if len(spoof) != samples:
        raise AugmentationError(f"a splice needs two aligned waveforms, not {samples} and {len(spoof)} samples")
    if not 0 < shortest <= samples:
        raise AugmentationError(f"a piece of {min_piece_s} s does not fit in {samples / sample_rate_hz:.2f} s")
    mask = np.zeros(samples)
    borders: list[tuple[int, int]] = []
    gap = round(MIN_GAP_S * sample_rate_hz)
    for _ in range(rng.integers(1, max_pieces + 1)):
        longest = min(samples, round(max_piece_s * sample_rate_hz))
        length = int(rng.integers(shortest, max(shortest, longest) + 1))
        start = int(rng.integers(samples - length + 1))
        stop = start + length
        start, stop = 0 if start < gap else start, samples if stop > samples - gap else stop
        if all(start >= end + gap or stop + gap <= begin for begin, end in borders):
            borders.append((start, stop))
            mask[start:stop] = 1
    fade = max(1, round(fade_s * sample_rate_hz)) | 1
    weights = np.convolve(np.pad(mask, fade // 2, mode="edge"), np.full(fade, 1 / fade), "valid")
    mixed = bona_fide + weights.astype(np.float32) * (spoof - bona_fide)
    return Splice(mixed.astype(np.float32), _pieces(sorted(borders), samples, sample_rate_hz))


def _pieces(
    borders: list[tuple[int, int]], samples: int, sample_rate_hz: int
) -> tuple[tuple[float, float, str], ...]:
    """Spoofed borders, in samples, as labelled seconds with the bona fide stretches between."""
    pieces, reached = [], 0
    for start, end in borders:
        if start > reached:
            pieces.append((reached / sample_rate_hz, start / sample_rate_hz, BONA_FIDE))
        pieces.append((start / sample_rate_hz, end / sample_rate_hz, SPOOF))
        reached = end
    if reached < samples:
        pieces.append((reached / sample_rate_hz, samples / sample_rate_hz, BONA_FIDE))
    return tuple(pieces)
