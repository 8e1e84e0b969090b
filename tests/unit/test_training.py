"""Training is exact: balanced, repeatable, resumable to the bit, and blind to eval."""

from __future__ import annotations

import json
import os
import random
import signal
from collections import Counter
from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest
import torch

from tiny import tiny_encoder, tiny_recipe, tiny_stage
from veravox.batches import EpochSampler
from veravox.errors import ConfigurationError, TrainingError, VeravoxError
from veravox.models import DetectorSpec, read_checkpoint
from veravox.tables import Protocol, read_protocol
from veravox.training import Processes, Recipe, Training, change, fit, read_recipe, smoothed_cross_entropy
from veravox.training.calibrate import training_limits
from veravox.training.loop import rate_at
from veravox.training.losses import probability_difference, trial_weights
from veravox.training.random_state import RandomState, seed_random
from veravox.training.run import Position
from veravox.training.sharpness.options import SharpnessAware
from veravox.training.state import read_state, write_state


@pytest.fixture
def data(samples):
    protocol = read_protocol(samples / "protocol.csv")
    train, dev = protocol.where(split="train"), protocol.where(split="dev")
    return train, dev.with_frame(dev.frame.sample(16, seed=4))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


def weights_of(folder):
    return read_checkpoint(folder).model.state_dict()


def test_a_run_leaves_checkpoint_metrics_events_dev_scores_and_its_recipe(tmp_path, data):
    lines: list[str] = []
    checkpoint = fit(change(tiny_recipe(), ["seed=1"]), *data, tmp_path / "run", workers=0, say=lines.append)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"detector.safetensors", "metrics.jsonl", "events", "dev_scores.csv", "recipe.yaml"} <= names
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [record["stage"] for record in records] == ["experts", "experts", "joint"]
    assert all(0 <= record["dev_eer"] <= 1 and record["train_loss"] > 0 for record in records)
    assert read_recipe(tmp_path / "run/recipe.yaml").to_dict() == change(tiny_recipe(), ["seed=1"]).to_dict()
    again = read_checkpoint(tmp_path / "run")
    assert again.calibration == checkpoint.calibration
    assert again.calibration is not None
    assert "16 dev utterances" in again.calibration.fitted_on
    assert again.provenance["data"]["train"]["trials"] == len(data[0])
    assert again.limits["min_bandwidth_hz"] > 500
    assert len(lines) == 3


@pytest.mark.parametrize("stop_after", [2, 5, 8])
def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(tmp_path, data, stop_after):
    fit(tiny_recipe(), *data, tmp_path / "whole", workers=0, say=lambda line: None)
    steps = Counter()

    @contextmanager
    def interrupt(what, total):
        def advance(count):
            if "/" in what:
                steps["done"] += count
                if steps["done"] == stop_after and count:
                    os.kill(os.getpid(), signal.SIGINT)

        yield advance

    with pytest.raises(TrainingError, match="go on with --resume"):
        fit(tiny_recipe(), *data, tmp_path / "cut", workers=0, progress=interrupt, say=lambda line: None)
    fit(tiny_recipe(), *data, tmp_path / "cut", workers=0, resume=True, say=lambda line: None)
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []
    assert (tmp_path / "whole/metrics.jsonl").read_text() == (tmp_path / "cut/metrics.jsonl").read_text()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a single core
def test_workers_change_no_weight(tmp_path, data):
    recipe = tiny_recipe(
        stages=(tiny_stage("joint", epochs=1, draws=16),),
        synthesis=({"name": "lpc", "probability": 0.5},),
        splice_probability=0.5,
        spec_augment={"probability": 0.5},
    )
    fit(recipe, *data, tmp_path / "none", workers=0, say=lambda line: None)
    fit(recipe, *data, tmp_path / "two", workers=2, say=lambda line: None)
    none, two = weights_of(tmp_path / "none"), weights_of(tmp_path / "two")
    assert all(torch.equal(none[name], two[name]) for name in none)


def test_eval_trials_and_shared_trials_are_refused(tmp_path, data, samples):
    train, dev = data
    held_out = read_protocol(samples / "protocol.csv").where(split="eval")
    with pytest.raises(TrainingError, match="eval trials given as dev"):
        fit(tiny_recipe(), train, held_out, tmp_path / "a", say=print)
    with pytest.raises(TrainingError, match="eval trials given as train"):
        fit(tiny_recipe(), held_out, dev, tmp_path / "b", say=print)
    with pytest.raises(TrainingError, match="in both train and dev"):
        fit(tiny_recipe(), train, train, tmp_path / "c", say=print)
    with pytest.raises(TrainingError, match="needs both bona fide and spoof"):
        fit(tiny_recipe(), train.where(label="spoof"), dev, tmp_path / "d", say=print)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_run_is_not_overwritten_and_another_recipe_does_not_resume_it(tmp_path, data):
    recipe = tiny_recipe(stages=(tiny_stage("joint", epochs=1, draws=16),))
    fit(recipe, *data, tmp_path / "run", workers=0, say=lambda line: None)
    with pytest.raises(TrainingError, match="already holds a run"):
        fit(recipe, *data, tmp_path / "run", workers=0)
    with pytest.raises(TrainingError, match="another recipe or other data"):
        fit(change(recipe, ["seed=5"]), *data, tmp_path / "run", workers=0, resume=True)
    (tmp_path / "kept").mkdir()
    (tmp_path / "run" / "detector.safetensors").rename(tmp_path / "kept" / "detector.safetensors")
    with pytest.raises(TrainingError, match="already holds a detector"):
        fit(recipe, *data, tmp_path / "kept", workers=0)


def test_a_run_that_failed_in_its_first_epoch_is_started_again(tmp_path, data):
    train, dev = data
    paths = train.frame["path"].to_list()
    gone = train.with_frame(train.frame.with_columns(path=pl.Series([f"{path}.gone" for path in paths])))
    recipe = tiny_recipe(stages=(tiny_stage("joint", epochs=1, draws=16),))
    with pytest.raises(VeravoxError, match="gone"):
        fit(recipe, gone, dev, tmp_path / "run", workers=0, say=lambda line: None)
    fit(recipe, train, dev, tmp_path / "run", workers=0, say=lambda line: None)
    (tmp_path / "run/state.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"metrics, but no state\.safetensors to go on from"):
        fit(recipe, train, dev, tmp_path / "run", workers=0)


def test_frozen_parts_keep_their_weights_and_their_statistics(tmp_path, data):
    first = (tiny_stage("experts", epochs=1, draws=32),)
    gate = tiny_stage("joint", epochs=1, draws=32, freeze=["experts"])
    fit(tiny_recipe(stages=first), *data, tmp_path / "a", workers=0, say=lambda line: None)
    fit(tiny_recipe(stages=(*first, gate)), *data, tmp_path / "b", workers=0, say=lambda line: None)
    before, after = weights_of(tmp_path / "a"), weights_of(tmp_path / "b")
    experts = [name for name in before if ".experts." in name]
    assert experts
    assert all(torch.equal(before[name], after[name]) for name in experts)
    assert not all(torch.equal(before[name], after[name]) for name in before if ".gate." in name)


def test_an_epoch_draws_every_stratum_equally_and_each_trial_in_turn():
    labels = ["bonafide"] * 10 + ["spoof"] * 30
    protocol = Protocol.from_rows([{"utterance_id": str(i), "label": label} for i, label in enumerate(labels)])
    sampler = EpochSampler(protocol, ["label"], draws=40, batch_size=8, seed=1)
    for batch in sampler:
        assert sum(draw.trial < 10 for draw in batch) == 4
    counts = Counter(int(trial) for trial in sampler.order(0))
    assert {counts[trial] for trial in range(10)} == {2}
    assert max(counts[trial] for trial in range(10, 40)) == 1
    assert not np.array_equal(sampler.order(0), sampler.order(1))


def test_ranks_share_each_batch_and_a_position_is_where_iteration_starts():
    protocol = Protocol.from_rows([{"utterance_id": str(i)} for i in range(20)])
    whole = list(EpochSampler(protocol, [], 20, 6, seed=3))
    parts = [list(EpochSampler(protocol, [], 20, 6, 3, rank, 2)) for rank in range(2)]
    for batch, (first, second) in zip(whole, zip(*parts, strict=True), strict=True):
        assert sorted(batch) == sorted(first + second)
    sampler = EpochSampler(protocol, [], 20, 6, seed=3)
    sampler.set_position(0, 2)
    assert list(sampler) == whole[2:]


def test_every_rank_has_as_many_batches_though_the_last_is_too_small_for_all():
    protocol = Protocol.from_rows([{"utterance_id": str(i)} for i in range(20)])
    parts = [list(EpochSampler(protocol, [], 17, 16, 3, rank, 2)) for rank in range(2)]
    assert [len(part) for part in parts] == [2, 2]
    assert parts[0][1] == parts[1][1]


def test_draws_with_replacement_stay_balanced_and_a_smaller_last_batch_may_be_dropped(data):
    protocol = data[0]
    labels = protocol.frame["label"].to_list()
    sampler = EpochSampler(protocol, ["label"], 42, 8, seed=1, replacement=True, drop_last=True)
    batches = list(sampler)
    assert [len(batch) for batch in batches] == [8] * 5
    assert len(sampler) == 5
    counts = Counter(labels[draw.trial] for batch in batches for draw in batch)
    assert counts["bonafide"] == counts["spoof"] == 20
    often = Counter(sampler.order(0).tolist()).values()
    assert max(often) > 1
    assert [len(batch) for batch in EpochSampler(protocol, [], 7, 8, seed=1, drop_last=True)] == [7]


def test_the_loss_is_the_two_class_cross_entropy_with_label_smoothing():
    torch.manual_seed(0)
    pairs, targets = torch.randn(9, 2), torch.randint(0, 2, (9,))
    ours = smoothed_cross_entropy(pairs[:, 1] - pairs[:, 0], targets.float(), 0.2)
    assert ours.item() == pytest.approx(
        torch.nn.functional.cross_entropy(pairs, targets, label_smoothing=0.2).item()
    )


def test_the_loss_on_softmax_outputs_is_a_cross_entropy_after_a_second_softmax():
    logits = torch.tensor([-8.0, -4.0, 0.0, 4.0, 8.0])
    pairs = torch.stack([torch.zeros(5), logits], dim=1)
    for logit, pair, published in zip(logits, pairs, [1.213, 1.191, 0.693, 0.420, 0.413], strict=True):
        expected = torch.nn.functional.cross_entropy(pair.softmax(dim=0), torch.tensor(1), label_smoothing=0.2)
        ours = smoothed_cross_entropy(probability_difference(logit)[None], torch.ones(1), 0.2)
        assert ours.item() == pytest.approx(expected.item())
        assert ours.item() == pytest.approx(published, abs=6e-4)


def test_the_rate_is_halved_every_so_many_epochs():
    training = Training(learning_rate=3e-4, halving_epochs=10)
    rates = [rate_at(training, 3e-4, Position(epoch=epoch, batch=3), 7) for epoch in (0, 9, 10, 25)]
    assert rates == pytest.approx([3e-4, 3e-4, 1.5e-4, 0.75e-4])
    with pytest.raises(ConfigurationError, match="halving_epochs must be at least 1"):
        Training(halving_epochs=0)


def test_class_weights_make_it_the_weighted_cross_entropy_of_torch():
    generator = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(6, generator=generator), torch.tensor([0.0, 0, 0, 0, 1, 1])
    both = torch.stack([torch.zeros(6), logits], dim=1)
    expected = torch.nn.functional.cross_entropy(both, targets.long(), weight=torch.tensor([0.1, 0.9]))
    weights = Processes().normalised(trial_weights(targets, (0.1, 0.9)))
    torch.testing.assert_close(smoothed_cross_entropy(logits, targets, 0.0, weights), expected)
    torch.testing.assert_close(weights.mean(), torch.tensor(1.0))
    with pytest.raises(ConfigurationError, match="two positive numbers"):
        Training(class_weights=(0.0, 1.0))


def test_a_state_keeps_tensors_numbers_and_the_types_of_keys(tmp_path):
    state = {"a": [1, 2.5, None, float("inf")], 3: {"t": torch.arange(4)}, "e": {}}
    write_state(tmp_path / "s.safetensors", state)
    again = read_state(tmp_path / "s.safetensors")
    assert again["a"] == state["a"]
    assert torch.equal(again[3]["t"], torch.arange(4))
    (tmp_path / "s.safetensors").write_bytes((tmp_path / "s.safetensors").read_bytes()[:-3])
    with pytest.raises(TrainingError, match="damaged"):
        read_state(tmp_path / "s.safetensors")


def test_every_global_generator_goes_on_where_a_file_says(tmp_path):
    def draw():
        return [float(torch.rand(1)), np.random.rand(), random.random(), random.gauss(0, 1)]  # noqa: NPY002

    seed_random(3)
    first = draw()
    write_state(tmp_path / "s.safetensors", {"random": [RandomState().to_state()]})
    expected = draw()
    seed_random(4)
    (state,) = read_state(tmp_path / "s.safetensors")["random"]
    RandomState.from_state(state, torch.device("cpu")).restore()
    assert draw() == expected
    seed_random(3)
    assert draw() == first
    older = {name: value for name, value in state.items() if name != "python"}  # before Python's was kept
    RandomState.from_state(older, torch.device("cpu")).restore()
    assert draw()[:2] == expected[:2]


def test_limits_are_those_of_what_was_heard_in_an_epoch(data):
    narrow = {
        "name": "band_limit",
        "probability": {0: 0.0, 3: 1.0},
        "min_low_pass_hz": 2000,
        "max_low_pass_hz": 2000,
    }
    early, late = (training_limits(data[0], [narrow], 0, trials=4, epoch=epoch) for epoch in (2, 3))
    assert late["min_bandwidth_hz"] < 2500 < early["min_bandwidth_hz"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.epoch=3", "did you mean 'epochs'"),
        ("trainin.epochs=3", "did you mean 'training'"),
        ("stages.jiont.epochs=3", "did you mean 'joint'"),
        ("training.epochs=many", "'epochs' must be int"),
        ("detector.gate.name=atention", "did you mean 'attention'"),
        ("detector.experts.mel.width=[1]", "did you mean 'widths'"),
        ("training.epochs", "write FIELD=VALUE"),
    ],
)
def test_a_misspelt_setting_is_answered_with_the_nearest_word(setting, message):
    with pytest.raises(ConfigurationError, match=message):
        change(tiny_recipe(), [setting])


def test_settings_change_all_stages_or_one():
    recipe = change(tiny_recipe(), ["training.epochs=7", "seed=3", "detector.gate=concat"])
    assert [recipe.stages[index].training.epochs for index in range(2)] == [7, 7]
    assert recipe.detector.gate.name == "concat"
    one = change(tiny_recipe(), ["stages.joint.epochs=4"])
    assert [one.stages[index].training.epochs for index in range(2)] == [2, 4]


def test_numbers_may_be_written_as_people_write_them_and_open_fields_one_by_one(tmp_path):
    recipe = change(tiny_recipe(), ["training.learning_rate=1e-4", "training.learning_rates.gate=2E-3"])
    assert recipe.stages[0].training.learning_rate == 1e-4
    assert recipe.stages[1].training.learning_rates == {"gate": 2e-3}
    (tmp_path / "r.yaml").write_text(recipe.to_yaml().replace("weight_decay: 0.0001", "weight_decay: 5e-4"))
    assert read_recipe(tmp_path / "r.yaml").stages[0].training.weight_decay == 5e-4
    sharp = change(tiny_recipe(), ["training.sharpness.rho=0.1", "stages.joint.sharpness.every=2"])
    assert sharp.stages[0].training.sharpness == SharpnessAware(0.1)
    assert sharp.stages[1].training.sharpness == SharpnessAware(0.1, every=2)
    both = change(sharp, ["training.sharpness.rho=0.2"])
    assert [both.stages[index].training.sharpness.rho for index in range(2)] == [0.2, 0.2]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training=3", "'training' is a mapping of its fields"),
        ("stages=3", "'stages' is a list of stages"),
        ("stages.joint=3", r"write stages\.NAME\.FIELD=VALUE"),
        ("detector.experts={1: {front_end: log_mel, name: resnet}}", "expert name 1: use letters"),
        ("training.draws=0", "draws must be at least 1, not 0"),
        ("training.gradient_clip=-1", "gradient_clip not negative"),
        ("training.gate_learning_rate=0", "learning rates must be positive"),
        ("training.learning_rate=.nan", "learning rates must be positive and finite"),
        ("seed=-1", "seed must not be negative, not -1"),
    ],
)
def test_a_value_that_no_run_could_use_is_refused_when_it_is_read(setting, message):
    with pytest.raises(ConfigurationError, match=message):
        change(tiny_recipe(), [setting])


def test_a_recipe_survives_yaml(tmp_path):
    (tmp_path / "r.yaml").write_text(tiny_recipe().to_yaml())
    assert read_recipe(tmp_path / "r.yaml").to_dict() == tiny_recipe().to_dict()
    (tmp_path / "bad.yaml").write_text("a: [1\nb: 2")
    with pytest.raises(ConfigurationError, match="is not YAML"):
        read_recipe(tmp_path / "bad.yaml")
    with pytest.raises(ConfigurationError, match="needs the option 'name'"):
        Recipe.parse({})
    with pytest.raises(ConfigurationError, match="batch_size at least 2"):
        Training(batch_size=1)


@pytest.mark.parametrize("sharpness", [{"rho": 0.05, "length_over": "group"}, {"method": "looksam", "every": 3}])
def test_a_sharpness_aware_run_resumes_to_the_bit_and_differs_from_a_plain_one(tmp_path, data, sharpness):
    stages = (
        tiny_stage("experts", epochs=1),
        tiny_stage("joint", epochs=1, freeze=["mel"]),
    )
    plain = tiny_recipe(stages=stages, spec_augment={"max_frequency_bins": 8})
    recipe = change(plain, [f"training.sharpness={json.dumps(sharpness)}"])
    fit(recipe, *data, tmp_path / "whole", workers=0, say=lambda line: None)
    fit(plain, *data, tmp_path / "plain", workers=0, say=lambda line: None)
    steps = Counter()

    @contextmanager
    def interrupt(what, total):
        def advance(count):
            steps["done"] += count if "/" in what else 0
            if steps["done"] == 5 and count and "/" in what:
                os.kill(os.getpid(), signal.SIGINT)

        yield advance

    with pytest.raises(TrainingError, match="go on with --resume"):
        fit(recipe, *data, tmp_path / "cut", workers=0, progress=interrupt, say=lambda line: None)
    fit(recipe, *data, tmp_path / "cut", workers=0, resume=True, say=lambda line: None)
    whole, cut, other = (weights_of(tmp_path / name) for name in ("whole", "cut", "plain"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert not all(torch.equal(whole[name], other[name]) for name in whole)


def test_a_fine_tuned_encoder_that_masks_and_drops_layers_repeats_and_resumes_to_the_bit(tmp_path, data):
    tiny_encoder(tmp_path / "encoder", num_hidden_layers=3, layerdrop=0.5, mask_time_prob=0.5, mask_time_length=2)
    front_end = {"name": "ssl", "model": str(tmp_path / "encoder"), "train": "fine_tuned"}
    spec = {
        "front_ends": {"pretrained": front_end},
        "experts": {"linear": {"front_end": "pretrained", "name": "ssl"}},
        "window_s": 0.5,
    }
    joint = tiny_stage("joint", batch_size=8, draws=16, learning_rate=1e-3, sharpness={"rho": 0.05})
    recipe = tiny_recipe(detector=DetectorSpec.parse(spec), stages=(joint,), augmentation=())
    few = [part.with_frame(part.frame.head(60).tail(16)) for part in data[:1]] + [data[1]]
    fit(recipe, *few, tmp_path / "whole", workers=0, say=lambda line: None)
    np.random.seed(5)  # noqa: NPY002 (what came before does not count)
    steps = Counter()

    @contextmanager
    def interrupt(what, total):
        def advance(count):
            steps["done"] += count if "/" in what else 0
            if steps["done"] == 1 and count and "/" in what:
                os.kill(os.getpid(), signal.SIGINT)

        yield advance

    with pytest.raises(TrainingError, match="go on with --resume"):
        fit(recipe, *few, tmp_path / "cut", workers=0, progress=interrupt, say=lambda line: None)
    np.random.seed(6)  # noqa: NPY002
    fit(recipe, *few, tmp_path / "cut", workers=0, resume=True, say=lambda line: None)
    whole, cut = weights_of(tmp_path / "whole"), weights_of(tmp_path / "cut")
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []


def test_a_wrong_sharpness_option_is_refused_when_the_recipe_is_read():
    with pytest.raises(ConfigurationError, match="did you mean 'rho'"):
        Training(sharpness={"roh": 0.05})
    with pytest.raises(ConfigurationError, match="'rho' must be float"):
        change(tiny_recipe(), ["training.sharpness={rho: much}"])
