"""Where networks drop, how many nodes graph pools keep, and how far a detector raises quiet windows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from veravox.models import DetectorModel, DetectorSpec
from veravox.models.experts import EXPERTS
from veravox.models.gates import GATES
from veravox.models.layers.graphs import GraphPool
from veravox.registry import Spec


def rates(module: nn.Module) -> list[float]:
    return [part.p for part in module.modules() if isinstance(part, nn.Dropout)]


@pytest.mark.parametrize(
    ("name", "shape", "default"),
    [("lcnn_lstm", (60, 150), 0.7), ("resnet", (40, 50), 0.0), ("aasist", (16000,), 0.5), ("mlp", (64,), 0.5)],
)
def test_an_expert_drops_as_often_as_it_is_told(name, shape, default):
    options = {"any_length": True} if name == "aasist" else {}
    assert default in rates(EXPERTS.build(Spec(name, options), feature_shape=shape))
    assert 0.35 in rates(EXPERTS.build(Spec(name, {**options, "dropout": 0.35}), feature_shape=shape))


@pytest.mark.parametrize(("name", "default"), [("attention", 0.1), ("concat", 0.2), ("embedding_fc", 0.2)])
def test_a_gate_drops_as_often_as_it_is_told(name, default):
    for options, rate in (({}, default), ({"dropout": 0.35}, 0.35)):
        gate = GATES.build(Spec(name, options), experts=3, embedding_size=8)
        assert set(rates(gate)) == {rate}


@pytest.mark.parametrize(("name", "ratios"), [("aasist", (0.5, 0.7, 0.5)), ("aasist_l", (0.4, 0.5, 0.7))])
def test_graph_pools_keep_the_published_shares_of_nodes_and_drop_as_published(name, ratios):
    expert = EXPERTS.build(Spec(name, {"any_length": True}), feature_shape=(32000,)).eval()
    shares: list[float] = []
    pools = [module for module in expert.modules() if isinstance(module, GraphPool)]
    for pool in pools:
        pool.register_forward_hook(lambda _, seen, kept: shares.append((seen[0].shape[1], kept.shape[1])))
    expert(torch.randn(1, 32000))
    expected = [*ratios[:2], *[ratios[2]] * 4]
    assert [kept for _, kept in shares] == [
        int(nodes * ratio) for (nodes, _), ratio in zip(shares, expected, strict=True)
    ]
    assert sorted(rates(expert)) == sorted([0.2] * 2 + [0.3] * 6 + [0.2] * 6 + [0.5])


def test_a_quiet_window_is_raised_by_40_db_and_no_more():
    spec = {
        "front_ends": {"waveform": "waveform"},
        "experts": {"one": {"front_end": "waveform", "name": "rawnet2", "widths": [4, 8], "hidden": 8}},
        "window_s": 0.5,
        "level_dbfs": -26.0,
    }
    detector = DetectorModel(DetectorSpec.parse(spec)).eval()
    tone = math.sqrt(2) * torch.sin(torch.arange(8000) * 2 * math.pi * 440 / 16000)
    for level_db, expected_db in ((-10.0, -26.0), (-60.0, -26.0), (-90.0, -50.0)):
        features = detector.extract((10 ** (level_db / 20) * tone)[None])["waveform"]
        assert 20 * math.log10(float(features.square().mean().sqrt())) == pytest.approx(expected_db, abs=0.01)
