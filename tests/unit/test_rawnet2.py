"""RawNet2 with the weights of the ASVspoof 2021 baseline computes what the baseline's code computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from veravox.errors import CheckpointError
from veravox.models import DetectorModel, DetectorSpec, import_checkpoint
from veravox.models.experts.rawnet2 import rawnet2_names


class Plain:
    """The baseline from its state dict, layer after layer, as its code has them."""

    def __init__(self, weights: dict[str, Tensor]) -> None:
        self.weights = weights
        self.memory = nn.GRU(128, 1024, 3, batch_first=True)
        self.memory.load_state_dict({name[4:]: one for name, one in weights.items() if name.startswith("gru.")})

    def norm(self, x: Tensor, name: str) -> Tensor:
        mean, variance, scale, offset = (
            self.weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, offset)

    def convolve(self, x: Tensor, name: str, padding: int) -> Tensor:
        return F.conv1d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], padding=padding)

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def bank(self) -> Tensor:
        edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), 21) / 2595) - 1)
        times = np.arange(-512, 513)
        low_passes = [2 * edge / 16000 * np.sinc(2 * edge * times / 16000) for edge in edges]
        return torch.tensor(np.diff(low_passes, axis=0) * np.hamming(1025), dtype=torch.float32)[:, None]

    def __call__(self, windows: Tensor) -> Tensor:
        x = F.max_pool1d(F.conv1d(windows[:, None], self.bank()).abs(), 3)
        x = F.selu(self.norm(x, "first_bn"))
        for index in range(6):
            block = f"block{index}.0"
            out = self.convolve(x, f"{block}.conv1", 1)  # not what bn1 and the activation made of x
            out = self.convolve(F.leaky_relu(self.norm(out, f"{block}.bn2"), 0.3), f"{block}.conv2", 1)
            skip = self.convolve(x, f"{block}.conv_downsample", 0) if index == 2 else x
            x = F.max_pool1d(out + skip, 3)
            scale = torch.sigmoid(self.linear(x.mean(dim=2), f"fc_attention{index}.0"))[..., None]
            x = x * scale + scale
        x = F.selu(self.norm(x, "bn_before_gru")).transpose(1, 2)
        last = self.memory(x)[0][:, -1]
        return self.linear(self.linear(last, "fc1_gru"), "fc2_gru").log_softmax(dim=1)


@pytest.fixture(scope="module")
def foreign_weights() -> dict[str, Tensor]:
    torch.manual_seed(0)
    spec = {
        "front_ends": {"w": "waveform"},
        "experts": {"e": {"front_end": "w", "name": "rawnet2"}},
        "window_s": 0.3,
    }
    ours = DetectorModel(DetectorSpec.parse(spec)).mixture.experts["e"].state_dict()
    names = rawnet2_names()
    assert sorted(names.values()) == sorted(ours)
    weights = {theirs: ours[name] for theirs, name in names.items()}
    return {name: torch.rand_like(one) + 0.5 if "running" in name else one for name, one in weights.items()}


def test_imported_weights_give_the_log_probabilities_of_the_baselines_code(foreign_weights, tmp_path):
    path = tmp_path / "rawnet2.pth"
    torch.save({f"module.{name}": one for name, one in foreign_weights.items()}, path)
    checkpoint = import_checkpoint(path, "rawnet2")
    assert checkpoint.model.spec.window_samples == 64600
    windows = 0.1 * torch.randn(2, 9600)
    with torch.inference_mode():
        output = checkpoint.model.mixture.experts["rawnet2"](windows)
        expected = Plain(foreign_weights)(windows)
    torch.testing.assert_close(output.class_logits.log_softmax(dim=1), expected, atol=1e-4, rtol=1e-4)
    del foreign_weights["fc2_gru.bias"]
    torch.save(foreign_weights, path)
    with pytest.raises(CheckpointError, match=r"missing: 'fc2_gru\.bias'"):
        import_checkpoint(path, "rawnet2")


def test_weights_that_the_published_code_discards_do_not_learn():
    spec = {
        "front_ends": {"w": "waveform"},
        "experts": {"e": {"front_end": "w", "name": "rawnet2", "hidden": 8, "layers": 1, "published": True}},
        "window_s": 0.3,
    }
    detector = DetectorModel(DetectorSpec.parse(spec)).train()
    detector(0.1 * torch.randn(2, 4800)).logits.sum().backward()
    idle = {name for name, one in detector.named_parameters() if one.grad is None}
    assert idle == {name for name, _ in detector.named_parameters() if ".norm1." in name}
