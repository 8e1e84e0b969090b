"""The state of every global random generator: torch on the CPU and on devices, numpy, Python."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch


def seed_random(seed: int) -> None:
    """Seed every global generator that a training step may draw from."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 (encoders draw masks from it)
    random.seed(seed)


class RandomState:
    """Where the generators stand now.

    Args:
        devices: devices whose generators count too.
    """

    def __init__(self, devices: Iterable[torch.device] = ()) -> None:
        self.cpu = torch.get_rng_state()
        self.cuda = {device: torch.cuda.get_rng_state(device) for device in devices if device.type == "cuda"}
        self.numpy: Any = np.random.get_state()  # noqa: NPY002
        self.python: Any = random.getstate()

    def restore(self) -> None:
        """Put every generator back there."""
        torch.set_rng_state(self.cpu)
        for device, state in self.cuda.items():
            torch.cuda.set_rng_state(state, device)
        np.random.set_state(self.numpy)  # noqa: NPY002
        random.setstate(self.python)

    def to_state(self) -> dict[str, Any]:
        """As tensors and plain data, for a file; `from_state` reads it back."""
        _, keys, position, has_normal, normal = self.numpy
        version, words, next_normal = self.python
        state = {
            "cpu": self.cpu,
            "numpy": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "numpy_place": torch.tensor([position, has_normal, normal], dtype=torch.float64),
            "python": [version, torch.tensor(words, dtype=torch.int64), next_normal],
        }
        for cuda in self.cuda.values():
            state["cuda"] = cuda
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> RandomState:
        """Read what `to_state` gave; generators that an older file does not name stay where they are."""
        restored = cls()
        restored.cpu = state["cpu"]
        if "numpy" in state:
            position, has_normal, normal = state["numpy_place"].tolist()
            keys = state["numpy"].numpy().astype(np.uint32)
            restored.numpy = ("MT19937", keys, int(position), int(has_normal), normal)
        if "python" in state:
            version, words, next_normal = state["python"]
            restored.python = (version, tuple(words.tolist()), next_normal)
        if "cuda" in state and device.type == "cuda":
            restored.cuda = {device: state["cuda"]}
        return restored
