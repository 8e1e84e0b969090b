"""Convolution of small kernels over long frames, quick to train on processors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_input


class _Convolution(torch.autograd.Function):
    """A convolution of stride 1 that keeps the number of frames; its weight gradient is a matrix product a tap.

    On processors, torch's own takes two to four times as long for kernels of 2 x 3 over frames of thousands where
    channels lie last, as they do in a detector.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.padding = padding
        return functional.conv2d(inputs, weight, bias, padding=padding)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        inputs, weight = ctx.saved_tensors
        to_inputs = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_inputs = conv2d_input(inputs.shape, weight, gradient, padding=ctx.padding)
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(inputs, gradient, weight.shape[2:], ctx.padding)
        if ctx.needs_input_grad[2]:
            to_bias = gradient.sum(dim=(0, 2, 3))
        return to_inputs, to_weight, to_bias, None


def weight_gradient(inputs: Tensor, gradient: Tensor, kernel: torch.Size, padding: tuple[int, int]) -> Tensor:
    """Gradient (C_out, C_in, H, W) of a kernel from inputs (B, C_in, F, T) and the outputs' gradient.

    Rows lie one after another in memory, so that a tap of the kernel is a shift of one against the other; what a
    shift along time takes from the neighbouring row is taken back.
    """
    inputs_last = inputs.permute(0, 2, 3, 1).contiguous()  # (B, F, T, C): the layout that they have as a rule
    grad_output = gradient.permute(0, 2, 3, 1).contiguous()
    taps = []
    for row in range(kernel[0]):
        down = row - padding[0]
        first, last = max(0, -down), min(grad_output.shape[1], inputs_last.shape[1] - down)
        for column in range(kernel[1]):
            along = column - padding[1]
            tap = grad_output.new_zeros(grad_output.shape[-1], inputs_last.shape[-1])
            for one, other in zip(
                grad_output[:, first:last], inputs_last[:, first + down : last + down], strict=True
            ):
                tap = tap + _shifted_product(one, other, along)
            taps.append(tap)
    return torch.stack(taps, dim=-1).unflatten(-1, tuple(kernel))


def _shifted_product(grad_output: Tensor, inputs_last: Tensor, along: int) -> Tensor:
    """Sum over rows and t of grad_output[row, t] x inputs_last[row, t + along]; both (rows, T, C)."""
    ours, theirs = grad_output.flatten(0, 1), inputs_last.flatten(0, 1)
    if along == 0:
        return ours.t() @ theirs
    if along < 0:
        wrong = grad_output[1:, :-along].flatten(0, 1).t() @ inputs_last[:-1, along:].flatten(0, 1)
        return ours[-along:].t() @ theirs[:along] - wrong
    wrong = grad_output[:-1, -along:].flatten(0, 1).t() @ inputs_last[1:, :along].flatten(0, 1)
    return ours[:-along].t() @ theirs[along:] - wrong


class Convolution(nn.Conv2d):
    """`nn.Conv2d` of stride 1, odd width and as many frames out as in; see `_Convolution` for where it is quicker.

    Args:
        size_in, size_out: channels.
        kernel: its height and width.
        rows: of zeros above and below.
    """

    def __init__(self, size_in: int, size_out: int, kernel: tuple[int, int], rows: int) -> None:
        assert kernel[1] % 2, "an even kernel does not keep the number of frames"
        self.same_padding = (rows, kernel[1] // 2)
        super().__init__(size_in, size_out, kernel, padding=self.same_padding)

    def forward(self, inputs: Tensor) -> Tensor:
        learns = torch.is_grad_enabled() and self.weight.requires_grad and inputs.device.type == "cpu"
        if not learns or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
            return super().forward(inputs)
        result: Tensor = _Convolution.apply(inputs, self.weight, self.bias, self.same_padding)
        return result
