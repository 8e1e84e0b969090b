"""The second pass of a sharpness-aware step does as the first: dropped layers, hard samples, noisy routing."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from textbook import TextbookSAM, mixture_loss_of, tiny_detector
from tiny import tiny_encoder
from veravox.training import sharpness_aware_step


class Dropping:
    """A tiny wav2vec 2.0 in training, half of whose layers are dropped; which ran in each pass."""

    def __init__(self, folder) -> None:
        self.model = tiny_encoder(folder, num_hidden_layers=6, layerdrop=0.5).train()
        self.passes: list[list[int]] = []
        for index, layer in enumerate(self.model.encoder.layers):
            layer.register_forward_hook(lambda *_, index=index: self.passes[-1].append(index))
        self.windows = torch.randn(2, 8000, generator=torch.Generator().manual_seed(1))

    def loss(self) -> torch.Tensor:
        self.passes.append([])
        return self.model(self.windows).last_hidden_state.square().mean()

    def weights(self) -> list[torch.Tensor]:
        return [parameter.detach().clone() for parameter in self.model.parameters()]


@pytest.mark.parametrize("known", [True, False])
def test_layers_dropped_in_the_first_pass_are_dropped_in_the_second_and_all_come_back(tmp_path, known):
    one = Dropping(tmp_path)
    before = one.weights()
    optimizer = torch.optim.SGD(one.model.parameters(), lr=0.0)
    torch.manual_seed(0)
    for _ in range(4):
        sharpness_aware_step(optimizer, one.loss, 0.5, model=one.model if known else None)
    assert one.passes[0::2] == one.passes[1::2]
    assert len({tuple(ran) for ran in one.passes}) > 1, "steps draw anew"
    assert all(torch.equal(first, second) for first, second in zip(before, one.weights(), strict=True))


def test_the_textbook_version_drops_others_and_leaves_a_layer_perturbed(tmp_path):
    one = Dropping(tmp_path)
    before = one.weights()
    textbook = TextbookSAM(torch.optim.SGD(one.model.parameters(), lr=0.0), 0.5)
    torch.manual_seed(0)
    for _ in range(4):
        textbook.step(one.loss)
    assert one.passes[0::2] != one.passes[1::2]
    assert not all(torch.equal(first, second) for first, second in zip(before, one.weights(), strict=True))


@pytest.mark.parametrize("keep", [True, False])
def test_a_hard_gumbel_sample_is_held_and_its_gradient_flows_on(keep):
    logits, values = nn.Parameter(torch.tensor([[0.02, 0.0, 0.0]])), torch.tensor([5.0, 0.0, -5.0])
    samples = []

    def loss():
        sample = nn.functional.gumbel_softmax(logits, tau=0.5, hard=True)
        samples.append(sample.detach().round())
        return (sample * values).sum()

    gradients = []
    optimizer = torch.optim.SGD([logits], lr=0.0)
    for seed in range(12):
        torch.manual_seed(seed)
        sharpness_aware_step(
            optimizer,
            loss,
            2.0,
            keep_choices=keep,
            before_update=lambda: gradients.append(logits.grad.abs().sum()),
        )
    held = [torch.equal(*pair) for pair in zip(samples[0::2], samples[1::2], strict=True)]
    assert all(held) == keep, "moved logits choose otherwise, unless the choice is kept"
    assert len({tuple(sample.flatten().tolist()) for sample in samples}) > 1, "steps draw anew"
    assert min(gradients) > 0


@pytest.mark.parametrize("keep", [True, False])
def test_noisy_top_k_trains_each_step_on_one_routing(keep):
    detector = tiny_detector({"name": "top_k", "k": 1, "noise": 1.0})
    loss_of_batch, chosen = mixture_loss_of(detector), []
    detector.register_forward_hook(lambda module, seen, output: chosen.append(output.gate_weights.detach() > 0))
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    torch.manual_seed(0)
    losses = [
        float(sharpness_aware_step(optimizer, loss_of_batch, 3.0, model=detector, keep_choices=keep))
        for _ in range(6)
    ]
    same = [torch.equal(*pair) for pair in zip(chosen[0::2], chosen[1::2], strict=True)]
    assert all(same) == keep
    assert any(not torch.equal(chosen[0], later) for later in chosen[2::2]), "noise differs from step to step"
    assert losses[-1] < losses[0]


class HostReads(TorchDispatchMode):
    """Counts the times a value is read from a tensor: on an accelerator the host waits there."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += "_local_scalar_dense" in str(function)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("method", ["sam", "gsam", "looksam", "esam", "friendly"])
@pytest.mark.parametrize("options", [{}, {"adaptive": True, "clip_norm": 1.0, "length_over": "group"}])
def test_a_step_waits_for_the_device_once(method, options):
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(16, 4)
    for _ in range(3):
        with HostReads() as reads:
            sharpness_aware_step(
                optimizer, lambda: model(inputs).square().mean(), method=method, model=model, every=2, **options
            )
        assert reads.count == 1
