"""Copy-synthesis in batches: spoof draws that give way to copies of bona fide draws beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from veravox.tables import BONA_FIDE, Protocol

COPIES = 0xC0B1
"""Sets the draws of copies apart from other noise."""


class Draw(NamedTuple):
    """One trial drawn: its noise is seeded by (seed, epoch, position), whichever worker loads it.

    A copy of a bona fide trial names the position of its original, whose noise and crop it shares.
    """

    epoch: int
    position: int
    trial: int
    original: int | None = None

    @property
    def noise(self) -> int:
        """The position that seeds noise and crop."""
        return self.position if self.original is None else self.original


class Pairing:
    """Puts spoofed copies into batches, each in the same batch as its original.

    A share of the bona fide draws gets a copy. Each copy takes the place of one spoof draw of its batch that has
    the same values in the balanced columns but `label`, as long as there are any. So classes stay as balanced as
    they were, and so do domains and the shares of experts.

    Args:
        protocol: the trials that are drawn.
        balance: columns whose combined values are drawn equally often.
        share: of the bona fide draws that get a copy, by epoch.
        seed: of the run.
    """

    def __init__(
        self, protocol: Protocol, balance: Sequence[str], share: Callable[[int], float], seed: int
    ) -> None:
        protocol.require("label")
        self.bona_fide = [label == BONA_FIDE for label in protocol.frame["label"]]
        others = [name for name in balance if name != "label"]
        self.keys = list(protocol.frame.select(others).iter_rows()) if others else [()] * len(protocol)
        self.share, self.seed = share, seed

    def paired(self, draws: Sequence[Draw], batch: int) -> list[Draw]:
        """A whole batch, over all processes, with its copies; `batch` is its number in the epoch."""
        share = self.share(draws[0].epoch)
        rng = np.random.default_rng((self.seed, draws[0].epoch, batch, COPIES))
        chosen = rng.random(len(draws)) < share
        groups: dict[tuple[Any, ...], tuple[list[int], list[int]]] = {}
        for place, draw in enumerate(draws):
            originals, spoofs = groups.setdefault(self.keys[draw.trial], ([], []))
            if not self.bona_fide[draw.trial]:
                spoofs.append(place)
            elif chosen[place]:
                originals.append(place)
        result = list(draws)
        for originals, spoofs in groups.values():
            for original, place in zip(originals, rng.permutation(spoofs), strict=False):
                source = draws[original]
                result[place] = Draw(source.epoch, draws[place].position, source.trial, source.position)
        return result
