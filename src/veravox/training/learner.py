"""A detector as a stage trains it: its forward pass, on which device, in which precision, with which processes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from veravox.models.detector import DetectorModel
from veravox.training.processes import Processes


class Learner:
    """What a stage's loss needs beside the batch. A context, at whose end the detector is as before.

    Args:
        detector: the detector that learns.
        forward: the forward pass, a module around the detector.
        processes: this process among those that train together.
        device: where to compute.
        precision: of `Training`.
        owned: (trials, E), whether an expert learns from a trial; None if every expert learns from all.
        runs_all: whether every expert runs on every window, also under a sparse router.
        detached: modules that pass no gradient to their inputs.
    """

    def __init__(
        self,
        detector: DetectorModel,
        forward: nn.Module,
        processes: Processes,
        device: torch.device,
        precision: str,
        owned: Tensor | None = None,
        runs_all: bool = False,
        detached: Sequence[nn.Module] = (),
    ) -> None:
        self.detector, self.processes, self.device = detector, processes, device
        self._precision, self.owned = precision, owned
        self.network = forward
        if processes.count > 1:
            devices = [processes.local_rank] if device.type == "cuda" else None
            self.network = nn.parallel.DistributedDataParallel(forward, device_ids=devices)
        detector.runs_all = runs_all
        self._hooks = [module.register_forward_pre_hook(_detach) for module in detached]

    def precision(self) -> AbstractContextManager[Any]:
        """Low precision of the forward pass, where it is asked for or native."""
        native = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        if self.device.type == "cpu":
            native = bool(getattr(torch.backends.cpu, "get_cpu_capability", str)() in ("AVX512_BF16", "AMX"))
        if self._precision == "bfloat16" or (self._precision == "auto" and native):
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def close(self) -> None:
        """Leave the detector as it was."""
        for hook in self._hooks:
            hook.remove()
        self.detector.runs_all = False

    def __enter__(self) -> Learner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _detach(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(item.detach() for item in inputs)
