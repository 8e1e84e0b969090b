"""The processes of one training: started by torchrun, joined here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as distributed


@dataclass(frozen=True)
class Ranks:
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
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.count > 1:
            distributed.barrier()

    def agree(self, value: bool) -> bool:
        """Whether any process says yes."""
        if self.count == 1:
            return value
        flags: list[bool] = [False] * self.count
        distributed.all_gather_object(flags, value)
        return any(flags)

    def total(self, counts: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        if self.count > 1:
            counts = counts.clone()
            distributed.all_reduce(counts)
        return counts

    def share(self, value: object) -> object:
        """What the first process has."""
        if self.count == 1:
            return value
        holder = [value]
        distributed.broadcast_object_list(holder, src=0)
        return holder[0]


@contextmanager
def joined_ranks(device: torch.device) -> Iterator[Ranks]:
    """The processes that torchrun started with us: nccl on CUDA, gloo elsewhere; alone without torchrun."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks()
        return
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device.type == "cuda":
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size(), local_rank)
    finally:
        distributed.destroy_process_group()
