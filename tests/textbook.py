"""What tests of sharpness-aware training share: SAM as textbooks write it, and a tiny mixture."""

from __future__ import annotations

import functools

import torch
from torch import nn

from tiny import tiny_spec
from veravox.models import DetectorModel
from veravox.training import sharpness_aware_step


class TextbookSAM(torch.optim.Optimizer):
    """SAM as it is commonly written, with its traps."""

    def __init__(self, base: torch.optim.Optimizer, rho: float) -> None:
        super().__init__([{"params": group["params"]} for group in base.param_groups], {"rho": rho})
        self.base, self.rho = base, rho

    @torch.no_grad()
    def first_step(self) -> None:
        used = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in used]).norm()
        for p in used:
            self.state[p]["old"] = p.clone()
            p.add_(p.grad * self.rho / (norm + 1e-12))
        self.zero_grad()

    @torch.no_grad()
    def second_step(self) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and "old" in self.state[p]:
                    p.copy_(self.state[p]["old"])
        self.base.step()
        self.zero_grad()

    def step(self, closure):
        loss = closure()
        loss.backward()
        self.first_step()
        closure().backward()
        self.second_step()
        return loss


def tiny_detector(router="soft") -> DetectorModel:
    torch.manual_seed(0)
    return DetectorModel(tiny_spec(gate="input_linear", router=router)).train()


def mixture_loss_of(detector: DetectorModel):
    windows = 0.1 * torch.randn(4, detector.spec.window_samples, generator=torch.Generator().manual_seed(1))
    targets = (torch.arange(4) % 2).float()
    return lambda: nn.functional.binary_cross_entropy_with_logits(detector(windows).logits, targets)


def in_one_of_two(rank: int, folder: str) -> None:
    """Steps of one of two processes on its half of the batch, with either perturbation; writes the weights."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    try:
        for across in ("global", "local"):
            inputs, model = double_batch()
            wrapped = nn.parallel.DistributedDataParallel(model)
            loss = functools.partial(lambda module, half: module(half).pow(4).mean(), wrapped, inputs[rank::2])
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(2):
                sharpness_aware_step(optimizer, loss, 0.3, model=wrapped, across=across)
            torch.save(model.state_dict(), f"{folder}/{across}-{rank}.pt")
    finally:
        torch.distributed.destroy_process_group()


def double_batch() -> tuple[torch.Tensor, nn.Module]:
    torch.manual_seed(3)
    return torch.randn(8, 3, dtype=torch.float64), nn.Linear(3, 2).double()
