"""What every named experiment promises."""

from __future__ import annotations

import functools
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import safetensors.torch
import torch
import yaml

from tiny import tiny_encoder
from veravox.batches import build_chain, build_synthesis
from veravox.errors import ConfigurationError
from veravox.models import EXPERTS, DetectorModel, DetectorSpec, read_checkpoint
from veravox.recipes import RECIPES, recipe, sam
from veravox.scoring import score
from veravox.tables import read_protocol
from veravox.training import Recipe, SharpnessAware, change, fit

PRETRAINED = [
    name
    for name in RECIPES.names()
    if any("model" in spec.options for spec in RECIPES[name]().detector.front_ends.values())
]
"""Recipes whose front end needs a published encoder."""
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
    detector = DetectorModel(one.detector)
    assert detector.expert_names == list(one.detector.experts)
    build_chain(one.augmentation)
    build_synthesis(one.synthesis, one.splice_probability)


def test_a_mele_has_one_expert_for_each_of_its_domains():
    one = RECIPES["mele_enhanced"](["A b", "C"])
    assert one.stages[0].domains == {"A_b": "A b", "C": "C"}
    assert list(one.detector.experts) == ["A_b", "C"]


def test_the_pretrained_folder_is_an_option():
    one = change(recipe("mile_ssl"), ["detector.front_ends.pretrained.model=folder"])
    assert one.to_dict() == RECIPES["mile_ssl"]("folder").to_dict()


def miniature(one: Recipe) -> Recipe:
    """The same experiment with narrow experts, short windows and one small batch an epoch."""
    plain = one.detector.to_dict()
    for expert in plain["experts"].values():
        expert.update(EXPERTS[expert["name"]].example_options(Path()))
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


@pytest.fixture(scope="module")
def trained(few, encoder, tmp_path_factory):
    """Trains the miniature of a recipe, once: its scores in this process, and the folder of its run."""
    folder = tmp_path_factory.mktemp("miniatures")

    @functools.cache
    def run(name: str) -> tuple[pl.DataFrame, Path]:
        torch.set_num_threads(1)
        train, dev = few
        one = miniature(recipe(name))
        if name in PRETRAINED:
            one = change(one, [f"detector.front_ends.pretrained.model={encoder()}"])
        checkpoint = fit(one, train, dev, folder / name, workers=0, say=lambda line: None)
        return score(checkpoint, dev, policy="first", workers=0).frame, folder / name

    return run


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """Writes a small random encoder; gives its folder."""
    folder = tmp_path_factory.mktemp("encoder")

    @functools.cache
    def write() -> Path:
        tiny_encoder(folder)
        return folder

    return write


@pytest.mark.parametrize("name", RECIPES.names())
def test_a_miniature_of_every_recipe_trains_and_scores(name, trained, few):
    frame, _ = trained(name)
    assert len(frame) == len(few[1])
    assert frame["score"].is_finite().all()


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_recipe_with_a_pretrained_encoder_fine_tunes_it(name, trained, encoder):
    _, run = trained(name)
    weight = "encoder.layers.0.attention.q_proj.weight"
    learned = dict(read_checkpoint(run).model.front_ends["pretrained"].encoder.named_parameters())[weight]
    before = safetensors.torch.load_file(encoder() / "model.safetensors")[weight]
    assert 0 < (learned - before).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["lcnn", "mele_standard", "mele_enhanced"])
def test_the_recipes_of_the_first_mixture_paper_have_the_settings_of_its_code(name):
    one = recipe(name)
    for stage in one.stages:
        training = stage.training
        assert (training.epochs, training.patience, training.optimiser) == (150, 20, "adamw")
        assert training.learning_rate == training.min_learning_rate == training.weight_decay == 1e-4
        assert training.batch_size == 64 * len(getattr(stage, "domains", None) or [""])
        assert training.label_smoothing == (0.2 if stage.trains == "experts" else 0.0)
        assert (training.loss, training.balance, training.gradient_clip) == ("softmax", ("label",), 0.0)
        assert training.replacement
        assert training.drop_last
        assert training.tiled_from == "start"
    assert one.policy == "middle"
    assert one.detector.mixing == ("logits" if name == "lcnn" else "probabilities")
    ours = recipe(f"{name}_house")
    assert ours.stages[0].training.epochs == 100
    assert ours.stages[0].training.loss == ours.detector.mixing == "logits"


@pytest.mark.parametrize("name", [name for name in PRETRAINED if name not in ("mile_ssl",)])
def test_self_supervised_recipes_of_the_sharpness_paper_have_the_settings_of_its_code(name):
    one = recipe(name)
    training = one.stages[0].training
    assert training.weight_decay == 1e-5
    assert (training.windows, one.policy, training.precision, one.seed) == (
        "first",
        "first",
        "float32",
        666,
    )
    assert one.detector.front_ends["pretrained"].options["normalise"] is False


def test_the_baselines_of_asvspoof_2021_have_the_settings_of_their_code():
    rawnet2, lcnn_lstm = recipe("rawnet2"), recipe("lcnn_lstm")
    assert rawnet2.detector.experts["rawnet2"].spec.options == {"published": True}
    training = rawnet2.stages[0].training
    assert training.learning_rate == training.min_learning_rate == 1e-4
    assert (training.windows, rawnet2.policy) == ("first", "first")
    training = lcnn_lstm.stages[0].training
    assert (training.optimiser, training.learning_rate, training.halving_epochs) == ("adam", 3e-4, 10)
    assert (training.weight_decay, training.balance, training.patience) == (0.0, (), 50)


def test_recipes_written_before_stages_had_all_their_fields_are_read_as_they_were():
    """The YAML of an earlier version: shared fields under `training`, what differs in the stages."""
    plan = recipe("mile_slim")
    plain = plan.to_dict()
    shared = {"batch_size": 64, "weight_decay": 0.01, "balance": ["label", "domain"], "domains": {}, "epochs": 30}
    shared |= {
        "mixture_loss_weight": 1.0,
        "expert_loss_weight": 0.0,
        "gate_learning_rate": None,
        "sharpness": None,
    }
    joint = {"learning_rate": 1e-4, "gate_learning_rate": 1e-3, "expert_loss_weight": 0.5}
    plain["training"] = shared
    plain["stages"] = [
        {"name": "experts", "trains": "experts", "epochs": 18, "patience": 8},
        {"name": "joint", "trains": "joint", "epochs": 5, "patience": 4, **joint},
    ]
    del plain["detector"]["mixing"]
    assert Recipe.parse(plain) == plan


CHILD = """
import sys
from pathlib import Path
import torch
from veravox.models import read_checkpoint
from veravox.scoring import score
from veravox.tables import read_protocol

torch.set_num_threads(1)
dev = read_protocol(sys.argv[1])
for run in map(Path, sys.argv[2:]):
    score(read_checkpoint(run), dev, policy="first", workers=0).frame.write_parquet(run / "again.parquet")
"""


def test_the_checkpoint_of_every_recipe_scores_bit_equal_in_a_fresh_process(trained, few, tmp_path):
    names = RECIPES.names() if find_spec("transformers") else OTHERS
    results = [trained(name) for name in names]
    few[1].write(tmp_path / "dev.csv")
    runs = [str(run) for _, run in results]
    command = [sys.executable, "-c", CHILD, str(tmp_path / "dev.csv"), *runs]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    different = [
        run.name
        for frame, run in results
        if not pl.read_parquet(run / "again.parquet")
        .drop("path", strict=False)
        .equals(frame.drop("path", strict=False))
    ]
    assert different == []


@pytest.mark.parametrize(
    ("name", "rho", "rates", "batch_size"),
    [
        ("aasist", 0.05, (1e-4, 5e-6), 24),
        ("aasist_2025c", 0.05, (1e-4, 5e-6), 24),
        ("w2v_base_linear", 0.05, (1e-6, 1e-6), 32),
        ("w2v_base_aasist", 0.05, (1e-6, 1e-6), 32),
        ("w2v_large_linear", 0.005, (1e-6, 1e-6), 32),
        ("w2v_large_aasist", 0.001, (1e-6, 1e-6), 32),
        ("xlsr_linear", 0.005, (1e-6, 1e-6), 32),
        ("xlsr_aasist", 0.001, (1e-6, 1e-6), 32),
    ],
)
def test_the_systems_of_the_sharpness_paper_have_its_settings_and_differ_in_the_step_alone(
    name, rho, rates, batch_size
):
    adam, twin = recipe(name), recipe(f"{name}_sam")
    assert twin == sam(adam, rho)
    training = twin.stages[0].training
    assert training.sharpness == SharpnessAware(rho)
    assert (training.learning_rate, training.min_learning_rate) == rates
    assert (training.batch_size, training.epochs, training.optimiser) == (batch_size, 100, "adam")
    assert training.class_weights == (0.1, 0.9)
    assert training.balance == ()
    assert twin.detector.window_samples == 64600
    assert [item.get("algorithm") for item in twin.augmentation] == ([] if name.startswith("aasist") else [5])
    stages = (replace(twin.stages[0], training=replace(training, sharpness=None)),)
    assert replace(twin, name=adam.name, description=adam.description, stages=stages) == adam


@pytest.mark.parametrize(
    ("setting", "options"),
    [
        ("training.sharpness.length_over=all", SharpnessAware(0.05)),
        ("training.sharpness.leave_out=[gate]", SharpnessAware(0.05, length_over="group", leave_out=("gate",))),
        (
            "training.sharpness={rho: 0.1, leave_out: [gate, norms]}",
            SharpnessAware(0.1, leave_out=("gate", "norms")),
        ),
    ],
)
def test_a_mixture_is_perturbed_jointly_expert_by_expert_or_without_its_gate(setting, options, few, tmp_path):
    by_group = SharpnessAware(0.05, length_over="group")
    assert [stage.training.sharpness for stage in recipe("mile_slim_sam").stages] == [by_group] * 2
    one = change(miniature(recipe("mile_slim_sam")), [setting])
    assert [stage.training.sharpness for stage in one.stages] == [options] * 2
    joint = replace(one, stages=one.stages[1:])
    trained = fit(joint, *few, tmp_path / "run", workers=0, say=lambda line: None)
    assert Recipe.parse(trained.provenance["recipe"]).stages[0].training.sharpness == options
    with pytest.raises(ConfigurationError, match="did you mean 'leave_out'"):
        change(one, ["training.sharpness.leave_ot=[gate]"])
