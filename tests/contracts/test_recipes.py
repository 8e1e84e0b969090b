"""What every named experiment promises."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import yaml

from veravox.augment import build_chain, build_synthesis
from veravox.models import Detector, DetectorSpec, read_checkpoint
from veravox.recipes import RECIPES, recipe
from veravox.scoring import score
from veravox.tables import read_protocol
from veravox.training import Recipe, change, fit

NARROW = {
    "resnet": {"widths": [4, 8], "depths": [1, 1]},
    "rawnet2": {"widths": [4, 8], "hidden": 8, "layers": 1},
    "aasist": {"widths": [4, 4], "hidden": 4, "any_length": True},
    "aasist_l": {"widths": [4, 4], "hidden": 4, "any_length": True},
}
PRETRAINED = [name for name in RECIPES.names() if name.endswith("_ssl")]
OTHERS = [name for name in RECIPES.names() if name not in PRETRAINED]


@pytest.mark.parametrize("name", RECIPES.names())
def test_a_recipe_is_named_described_and_survives_yaml(name):
    one = recipe(name)
    assert one.name == name
    assert one.description
    assert "\n" not in one.description
    assert Recipe.parse(yaml.safe_load(one.to_yaml())).to_dict() == one.to_dict()


@pytest.mark.parametrize("name", OTHERS)
def test_a_recipe_builds_its_detector_and_its_augmentation(name):
    one = recipe(name)
    detector = Detector(one.detector)
    assert detector.expert_names == list(one.detector.experts)
    build_chain(one.augmentation)
    build_synthesis(one.synthesis, one.splice_probability)


def test_a_mele_has_one_expert_for_each_of_its_domains():
    one = RECIPES["mele_enhanced"](["A b", "C"])
    assert one.stages[0].overrides["domains"] == {"A_b": "A b", "C": "C"}
    assert list(one.detector.experts) == ["A_b", "C"]


def test_the_pretrained_folder_is_an_option():
    one = change(recipe("mile_ssl"), ["detector.front_ends.pretrained.model=folder"])
    assert one.to_dict() == RECIPES["mile_ssl"]("folder").to_dict()


def miniature(one: Recipe) -> Recipe:
    """The same experiment with narrow experts, short windows and one small batch an epoch."""
    plain = one.detector.to_dict()
    for expert in plain["experts"].values():
        expert.update(NARROW.get(expert["name"], {}))
    plain["window_s"] = 0.5
    settings = [
        "training.epochs=1",
        "training.draws=8",
        "training.batch_size=8",
        "policy=first",
    ]
    # Copies and masks stay as they are; waveforms go through what takes no time.
    quick = tuple(step for step in one.augmentation if step["name"] in ("gain", "polarity", "rawboost"))
    return change(replace(one, detector=DetectorSpec.parse(plain), augmentation=quick), settings)


@pytest.fixture(scope="module")
def few(samples):
    """Trials of every domain: two of each class to train, one of each class for dev."""
    protocol = read_protocol(samples / "protocol.csv")
    parts = []
    for split, count in (("train", 2), ("dev", 1)):
        part = protocol.where(split=split)
        keys = ["domain", "label"]
        parts.append(part.with_frame(part.frame.group_by(keys, maintain_order=True).head(count)))
    return parts


@pytest.mark.parametrize("name", OTHERS)
def test_a_miniature_of_every_recipe_trains_and_its_checkpoint_scores_bit_equal(name, few, tmp_path):
    torch.set_num_threads(1)
    train, dev = few
    trained = fit(miniature(recipe(name)), train, dev, tmp_path / "run", workers=0, say=lambda line: None)
    again = read_checkpoint(tmp_path / "run")
    first, second = (score(one, dev, policy="first", workers=0) for one in (trained, again))
    assert first.frame.equals(second.frame)
    assert len(first.frame) == len(dev)


def test_a_miniature_of_the_mixture_with_a_pretrained_expert_fine_tunes_it_and_scores_bit_equal(few, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra 'ssl' is not installed")
    torch.set_num_threads(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    sizes |= {"conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [10, 32], "num_feat_extract_layers": 2}
    sizes |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4}
    torch.manual_seed(0)
    encoder = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**sizes))
    encoder.save_pretrained(tmp_path / "encoder")
    train, dev = few
    one = change(miniature(recipe("mile_ssl")), [f"detector.front_ends.pretrained.model={tmp_path / 'encoder'}"])
    trained = fit(one, train, dev, tmp_path / "run", workers=0, say=lambda line: None)
    name = "encoder.layers.0.attention.q_proj.weight"
    learned = dict(trained.detector.front_ends["pretrained"].encoder.named_parameters())[name]
    moved = (learned - dict(encoder.named_parameters())[name]).abs().max()
    assert 0 < moved < 1e-5
    again = read_checkpoint(tmp_path / "run")
    first, second = (score(each, dev, policy="first", workers=0) for each in (trained, again))
    assert first.frame.equals(second.frame)
