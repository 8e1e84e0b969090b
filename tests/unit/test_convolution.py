"""The quick convolution has the outputs and gradients of the ordinary one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from veravox.models.layers.convolution import Convolution


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("sizes", "kernel", "rows"),
    [((1, 3), (2, 3), 1), ((4, 3), (2, 3), 0), ((3, 4), (1, 3), 0), ((2, 5), (3, 5), 1), ((3, 2), (2, 1), 2)],
)
def test_outputs_and_gradients_are_those_of_the_ordinary_convolution(sizes, kernel, rows, layout):
    torch.manual_seed(0)
    ours = Convolution(*sizes, kernel, rows).double().to(memory_format=layout)
    plain = nn.Conv2d(*sizes, kernel, padding=(rows, kernel[1] // 2)).double()
    plain.load_state_dict(ours.state_dict())
    inputs = torch.randn(3, sizes[0], 5, 7, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    found = []
    for convolution in (ours, plain):
        outputs = convolution(inputs)
        found.append([outputs, *torch.autograd.grad(outputs.pow(3).sum(), [inputs, *convolution.parameters()])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_its_gradient_has_a_gradient():
    torch.manual_seed(0)
    convolution = Convolution(2, 2, (2, 3), 1).double()
    inputs = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda given, weight: torch.func.functional_call(convolution, {"weight": weight}, given),
        (inputs, convolution.weight),
    )
