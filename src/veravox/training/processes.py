"""The processes of one training: started by torchrun, joined here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as distributed


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is.

    Args:
        rank: from 0.
        count: 1 means a process alone.
        local_rank: its place on its machine, which is its accelerator's number.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            distributed.barrier()

    def any_of(self, *values: bool) -> tuple[bool, ...]:
        """For each value, whether it is true in any process."""
        return tuple(any(column) for column in zip(*self.gather(values), strict=True))

    def gather(self, value: Any) -> list[Any]:
        """What each process has, in order."""
        if self.count == 1:
            return [value]
        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value)
        return values

    def total(self, counts: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        if self.count > 1:
            counts = counts.clone()
            distributed.all_reduce(counts)
        return counts

    def normalised(self, weights: torch.Tensor | None) -> torch.Tensor | None:
        """Weights (B,) divided by their mean over all processes; None stays None."""
        if weights is None:
            return None
        sums = self.total(torch.stack([weights.sum(), weights.new_tensor(float(len(weights)))]))
        return weights * (sums[1] / sums[0])

    def share(self, value: object) -> object:
        """What the first process has."""
        if self.count == 1:
            return value
        holder = [value]
        distributed.broadcast_object_list(holder, src=0)
        return holder[0]


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun started with us: nccl on CUDA, gloo elsewhere; alone without torchrun."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size(), local_rank)
    finally:
        distributed.destroy_process_group()
