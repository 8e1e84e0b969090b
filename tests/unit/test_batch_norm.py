"""Batch norms of detectors gather what float64 gathers, wherever channels lie."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from veravox.models.detector import DetectorModel
from veravox.models.layers.batch_norm import BatchNorm
from veravox.recipes import RECIPES


def exact(image: Tensor) -> tuple[Tensor, Tensor]:
    channels = image.double().transpose(0, 1).flatten(1)
    return channels.mean(dim=1), channels.var(dim=1)


def channels_last(image: Tensor) -> Tensor:
    return image.contiguous(memory_format=torch.channels_last)


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the fewer threads, the longer torch's running sums
    yield
    torch.set_num_threads(threads)


def test_statistics_at_the_published_batch_of_the_lcnn_are_those_of_float64():
    torch.manual_seed(0)
    detector = DetectorModel(RECIPES["lcnn"]().detector).train()
    norms = [one for one in detector.modules() if isinstance(one, nn.BatchNorm2d)]
    assert len(norms) == 6
    errors = []

    def compare(norm: nn.BatchNorm2d, given: tuple[Tensor], output: Tensor) -> None:
        assert given[0].is_contiguous(memory_format=torch.channels_last)
        mean, variance = exact(given[0])
        errors.append(((norm.running_var - variance).abs() / variance).max().item())
        errors.append(((norm.running_mean - mean).abs() / variance.sqrt()).max().item())

    for norm in norms:
        norm.momentum = 1.0
        norm.register_forward_hook(compare)
    with torch.no_grad():
        detector(0.1 * torch.randn(64, 48000))
    assert len(errors) == 12
    assert max(errors) < 1e-6  # torch's own with channels last: 2e-4 in trunk.5


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(3, 5, 4, 7), (2, 300, 31, 33), (4, 3, 1, 6)])
def test_outputs_and_gradients_are_those_of_the_ordinary_norm(shape, affine):
    torch.manual_seed(0)
    ours = BatchNorm(shape[1], affine=affine).double()
    plain = nn.BatchNorm2d(shape[1], affine=affine).double()
    if affine:
        nn.init.normal_(ours.weight)
        nn.init.normal_(ours.bias)
    plain.load_state_dict(ours.state_dict())
    inputs = channels_last(torch.randn(shape, dtype=torch.float64) * 3 + 50).requires_grad_()
    upstream = torch.randn(shape, dtype=torch.float64)
    found = []
    for norm, image in ((ours, inputs), (plain, inputs.contiguous())):
        outputs = norm(image)
        found.append([outputs, *torch.autograd.grad(outputs, [inputs, *norm.parameters()], upstream)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-12, atol=1e-12)


def test_gradients_in_float32_are_those_of_float64():
    torch.manual_seed(0)
    image, upstream = channels_last(torch.randn(16, 32, 40, 150) + 1), torch.randn(16, 32, 40, 150)
    found = []
    for kind in (torch.float32, torch.float64):
        inputs, norm = image.to(kind).requires_grad_(), BatchNorm(32).to(kind)
        found.append(torch.autograd.grad(norm(inputs), [inputs, *norm.parameters()], upstream.to(kind)))
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() < 1e-6 * other.norm()


def test_its_gradient_has_a_gradient():
    torch.manual_seed(0)
    norm = BatchNorm(2).double()
    inputs = channels_last(torch.randn(2, 2, 3, 2, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(norm, (inputs,))
    assert torch.autograd.gradgradcheck(norm, (inputs,))


def test_half_precision_keeps_its_type_and_is_summed_in_float32():
    torch.manual_seed(0)
    norm = BatchNorm(4, momentum=1.0)
    inputs = channels_last(torch.randn(8, 4, 16, 32)).bfloat16().requires_grad_()
    outputs = norm(inputs)
    outputs.float().square().sum().backward()
    assert outputs.dtype == inputs.grad.dtype == torch.bfloat16
    assert norm.weight.grad.dtype == torch.float32
    torch.testing.assert_close(norm.running_var.double(), exact(inputs.detach())[1], rtol=1e-6, atol=0)


def test_momentum_none_averages_over_all_batches():
    torch.manual_seed(0)
    ours, plain = BatchNorm(3, momentum=None), nn.BatchNorm2d(3, momentum=None)
    for _ in range(3):
        image = torch.randn(2, 3, 4, 5)
        ours(channels_last(image))
        plain(image)
    torch.testing.assert_close(ours.running_mean, plain.running_mean)
    torch.testing.assert_close(ours.running_var, plain.running_var)
    assert ours.num_batches_tracked == 3


def test_in_evaluation_it_is_the_ordinary_norm_bit_for_bit():
    torch.manual_seed(0)
    ours = BatchNorm(8).eval()
    ours.running_var.uniform_(0.5, 2.0)
    plain = nn.BatchNorm2d(8).eval()
    plain.load_state_dict(ours.state_dict())
    image = channels_last(torch.randn(2, 8, 5, 9))
    assert torch.equal(ours(image), plain(image))
