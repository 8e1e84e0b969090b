"""Stages divide trials among experts, losses reach whom they should, parts learn at their own rates."""

from __future__ import annotations

import json
import math
import os
import signal
from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest
import torch

from tiny import batch_of, tiny_recipe, tiny_spec, tiny_stage
from veravox.batches import EpochSampler
from veravox.batches.training import Batch
from veravox.errors import ConfigurationError, TrainingError
from veravox.models import DetectorModel, read_checkpoint
from veravox.tables import Protocol, read_protocol
from veravox.training import Processes, SharpnessStep, Stage, fit
from veravox.training.division import PARTITION_COLUMN, Division
from veravox.training.learner import Learner
from veravox.training.losses import expert_losses, gate_entropy, masked_expert_losses
from veravox.training.parts import parameter_groups
from veravox.training.run import Position, TrainingRun
from veravox.training.sharpness.options import SharpnessAware

DOMAINS = {"mel": "signal-vocoder", "linear": "classic-tts"}


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(samples):
    protocol = read_protocol(samples / "protocol.csv")
    keys = ["domain", "label"]
    parts = []
    for split, count in (("train", 4), ("dev", 2)):
        part = protocol.where(split=split)
        parts.append(part.with_frame(part.frame.group_by(keys, maintain_order=True).head(count)))
    return parts


def labelled(domains: list[str], each: int = 6) -> Protocol:
    rows = [
        {"utterance_id": f"{domain}-{label}-{index}", "label": label, "domain": domain}
        for domain in domains
        for label in ("bonafide", "spoof")
        for index in range(each)
    ]
    return Protocol.from_rows(rows)


def experts_stage(**fields) -> Stage:
    return tiny_stage("experts", **{"precision": "float32", **fields})


def joint_stage(**fields) -> Stage:
    return tiny_stage("joint", **{"precision": "float32", **fields})


def learner_of(detector: DetectorModel, stage: Stage, owned=None) -> Learner:
    parameter_groups(detector, stage)
    return stage.learner(detector, Division(labelled(["a"]), (), owned), Processes(), torch.device("cpu"))


def test_domains_give_each_expert_its_own_trials_and_leave_the_others_out():
    protocol = labelled(["a", "b", "c"])
    division = experts_stage(domains={"x": "a", "y": "c"}).divide(["x", "y"], protocol, protocol, 0)
    domains = division.train.frame["domain"].to_list()
    assert set(domains) == {"a", "c"}
    assert division.owned.tolist() == [[domain == "a", domain == "c"] for domain in domains]
    assert division.balance == ("label", "domain")
    assert protocol.frame.filter(pl.Series(division.dev["x"]))["domain"].unique().to_list() == ["a"]
    everything = experts_stage(domains={"x": "*", "y": "a"}).divide(["x", "y"], protocol, protocol, 0)
    assert everything.owned[:, 0].all()
    assert len(everything.train) == len(protocol)


def test_every_batch_of_a_domain_stage_holds_as_much_for_each_expert():
    protocol = labelled(["a", "b", "c", "d"])
    experts = ["w", "x", "y", "z"]
    stage = experts_stage(domains=dict(zip(experts, "abcd", strict=True)))
    division = stage.divide(experts, protocol, protocol, 0)
    for batch in EpochSampler(division.train, division.balance, 48, 16, seed=3):
        assert division.owned[[draw.trial for draw in batch]].sum(axis=0).tolist() == [4, 4, 4, 4]


def test_a_partition_gives_every_trial_to_one_expert_evenly_and_by_the_seed():
    protocol = labelled(["a", "b"])
    stage = experts_stage(partition=True, balance=("label", "domain"))
    divisions = [stage.divide(["x", "y", "z"], protocol, protocol, seed) for seed in (1, 1, 2)]
    first, same, other = (division.owned for division in divisions)
    assert (first.sum(axis=1) == 1).all()
    assert first.sum(axis=0).tolist() == [8, 8, 8]
    counts = divisions[0].train.frame.group_by(PARTITION_COLUMN, "label", "domain").len()["len"]
    assert counts.to_list() == [2] * 12
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    held = experts_stage(partition=True, freeze=("y",)).divide(["x", "y", "z"], protocol, protocol, 1)
    assert held.owned.sum(axis=0).tolist() == [12, 0, 12]


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        (
            {"mel": "classic-tss", "linear": "*"},
            "expert 'mel' learns from domain 'classic-tss', which has no trials",
        ),
        ({"mel": "classic-tts", "linear": "half"}, "expert 'linear'.*has only spoof trials in train"),
    ],
)
def test_an_expert_without_trials_of_both_classes_is_an_error_before_anything_is_written(
    domains, message, data, tmp_path
):
    train, dev = data
    domain = pl.when(pl.col("utterance_id") == train.where(label="spoof").utterance_ids[0]).then(pl.lit("half"))
    train = train.with_frame(train.frame.with_columns(domain.otherwise(pl.col("domain")).alias("domain")))
    recipe = tiny_recipe(stages=(tiny_stage("joint"), experts_stage(domains=domains)))
    with pytest.raises(TrainingError, match=message):
        fit(recipe, train, dev, tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("trains", "fields", "message"),
    [
        ("joint", {"freeze": ["mle"]}, "no part 'mle'; did you mean 'mel'"),
        ("joint", {"learning_rates": {"gte": 1e-3}}, "no part 'gte'; did you mean 'gate'"),
        ("joint", {"learning_rates": {"gate": 0.0}}, "must be positive"),
        ("joint", {"domains": {"mel": "a"}}, "for stages that train experts"),
        ("joint", {"mixture_loss_weight": 0.0}, "no loss reaches the experts"),
        ("joint", {"load_balance_weight": -1.0}, "load_balance_weight must not be negative"),
        ("experts", {"domains": {"mel": "a"}}, "no domain for linear"),
        ("experts", {"domains": {"mell": "a"}}, "did you mean 'mel'"),
        ("experts", {"domains": {"mel": "a", "linear": "b"}, "partition": True}, "not both"),
    ],
)
def test_a_stage_that_makes_no_sense_is_refused_when_the_recipe_is_read(trains, fields, message):
    with pytest.raises(ConfigurationError, match=message):
        tiny_recipe(stages=(tiny_stage(trains, **fields),))


def gradients(stage: Stage, owned=None, windows: int = 8) -> dict[str, float]:
    """The size of each part's gradient for one batch."""
    torch.manual_seed(0)
    detector = DetectorModel(tiny_spec())
    targets = torch.arange(windows) % 2 * 1.0
    with learner_of(detector, stage, owned) as learner:
        stage.loss(learner, batch_of(torch.randn(windows, detector.spec.window_samples), targets)).backward()
    parts = {
        **dict(detector.mixture.experts),
        "gate": detector.mixture.gate,
        "projections": detector.mixture.projections,
    }
    return {
        name: sum(float(one.grad.abs().sum()) for one in part.parameters() if one.grad is not None)
        for name, part in parts.items()
    }


def test_a_windows_loss_reaches_its_own_expert_alone():
    nobody = np.zeros((12, 2), dtype=bool)
    mine = nobody.copy()
    mine[:, 0] = True
    found = gradients(experts_stage(), mine)
    assert found["mel"] > 0
    assert found["linear"] == found["gate"] == 0
    assert set(gradients(experts_stage(), nobody).values()) == {0.0}


def test_an_expert_learns_from_its_own_windows_as_if_there_were_no_others():
    torch.manual_seed(1)
    windows, targets = torch.randn(8, 8000), torch.arange(8) % 2 * 1.0
    owned = np.arange(8)[:, None] // 4 == np.arange(2)
    results = []
    for chosen in (slice(0, 8), slice(0, 4)):
        torch.manual_seed(0)
        detector = DetectorModel(tiny_spec())
        stage = experts_stage()
        batch = batch_of(windows[chosen], targets[chosen], torch.arange(8)[chosen])
        stage.loss(learner_of(detector, stage, owned), batch).backward()
        expert = detector.mixture.experts["mel"]
        results.append([*(one.grad for one in expert.parameters()), *expert.buffers()])
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*results, strict=True))


def test_own_losses_of_all_windows_are_the_experts_losses():
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 3), torch.arange(6) % 2 * 1.0
    everyone = torch.ones(6, 3, dtype=torch.bool)
    assert torch.allclose(
        masked_expert_losses(logits, targets, 0.1, everyone, everyone.sum(dim=0)),
        expert_losses(logits, targets, 0.1),
    )


def test_with_one_loss_per_expert_the_mixtures_loss_teaches_the_gate_alone():
    shared = gradients(joint_stage())
    assert all(shared[name] > 0 for name in ("mel", "linear", "gate", "projections"))
    frozen = gradients(joint_stage(mixture_loss_weight=0.0, freeze=("experts",)))
    assert frozen["gate"] > 0
    own = gradients(joint_stage(mixture_loss_weight=0.0, expert_loss_weight=1.0))
    both = gradients(joint_stage(mixture_loss_weight=0.0, expert_loss_weight=2.0))
    assert own["projections"] > 0
    for expert in ("mel", "linear"):
        assert both[expert] == pytest.approx(2 * own[expert], rel=1e-4)
    assert both["gate"] == pytest.approx(own["gate"], rel=1e-4)


def test_gate_terms_act_on_the_gate():
    plain = gradients(joint_stage())
    assert gradients(joint_stage(gate_entropy_weight=1.0))["gate"] != pytest.approx(plain["gate"])
    assert gradients(joint_stage(load_balance_weight=1.0))["gate"] != pytest.approx(plain["gate"])
    assert float(gate_entropy(torch.zeros(3, 4))) == pytest.approx(math.log(4))
    assert float(gate_entropy(torch.tensor([[50.0, 0.0]]))) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "trains", "said"),
    [
        ({}, "joint", "experts that are not chosen are not run"),
        ({"expert_loss_weight": 0.5}, "joint", "are run all the same, for their own losses"),
        ({"mixture_loss_weight": 0.0, "freeze": ("experts",)}, "joint", "or to teach the gate"),
        ({}, "experts", None),
    ],
)
def test_a_stage_runs_the_chosen_experts_alone_unless_its_losses_need_all_and_says_so(options, trains, said):
    detector = DetectorModel(tiny_spec(gate="features_conv", router="top_k"))
    stage = tiny_stage(trains, precision="float32", **options)
    learner, routing = learner_of(detector, stage), stage.routing(detector, masked=False)
    assert said is None if routing is None else said in routing
    runs = dict.fromkeys(detector.mixture.experts, 0)
    for name, expert in detector.mixture.experts.items():
        expert.register_forward_hook(
            lambda _, inputs, __, name=name: runs.update({name: runs[name] + len(inputs[0])})
        )
    torch.manual_seed(0)
    batch = batch_of(torch.randn(8, detector.spec.window_samples), torch.arange(8) % 2 * 1.0)
    stage.loss(learner, batch).backward()
    assert sum(runs.values()) == (8 if said == "experts that are not chosen are not run" else 16)
    learner.close()
    assert not detector.runs_all


@pytest.mark.parametrize("mixing", ["logits", "probabilities"])
@pytest.mark.parametrize("trains", ["experts", "joint"])
def test_the_loss_on_softmax_outputs_reaches_experts_and_mixture(trains, mixing):
    detector = DetectorModel(tiny_spec(mixing=mixing)).eval()
    stage = tiny_stage(trains, precision="float32", loss="softmax", label_smoothing=0.2)
    learner = learner_of(detector, stage)
    torch.manual_seed(0)
    windows, targets = torch.randn(6, detector.spec.window_samples), torch.tensor([1.0, 0, 1, 0, 1, 0])
    output = detector(windows)
    columns = output.expert_logits.unbind(dim=1) if trains == "experts" else [output.logits]
    expected = 0.0
    for column in columns:
        difference = column if trains == "joint" and mixing == "probabilities" else 2 * column.sigmoid() - 1
        classes = torch.stack([-difference / 2, difference / 2], dim=1)
        expected += torch.nn.functional.cross_entropy(classes, targets.long(), label_smoothing=0.2)
    torch.testing.assert_close(stage.loss(learner, batch_of(windows, targets)), expected)


@pytest.mark.parametrize("trains", ["experts", "joint"])
def test_a_window_that_is_left_over_alone_is_learned_from(trains):
    experts = {"lcnn": {"front_end": "log_mel", "name": "lcnn", "width": 0.1}}
    detector = DetectorModel(tiny_spec(experts=experts, gate="embedding_fc")).train()
    stage = tiny_stage(trains, precision="float32")
    learner = learner_of(detector, stage)
    before = {name: buffer.clone() for name, buffer in detector.named_buffers()}
    loss = stage.loss(learner, batch_of(torch.randn(1, detector.spec.window_samples), torch.ones(1)))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(one.grad is not None for one in detector.mixture.experts["lcnn"].parameters())
    assert all(torch.equal(before[name], buffer) for name, buffer in detector.named_buffers())
    assert all(module.training for module in detector.mixture.experts["lcnn"].modules())


def test_skipped_steps_are_no_part_of_the_epochs_loss_and_an_epoch_of_them_ends_the_run():
    run = TrainingRun.__new__(TrainingRun)
    run.sums, run.position = [0.0] * 6, Position()
    batch = Batch(*(torch.ones(4) for _ in Batch._fields))
    run.count_step(math.nan, batch)
    with pytest.raises(TrainingError, match="no step of epoch 1 had a finite loss"):
        run.finish_epoch(experts_stage(), None)
    run.count_step(0.5, batch)
    assert run.sums[:2] == [2.0, 4.0]


def test_a_stage_that_could_not_begin_is_refused_before_the_first_one(tmp_path, data):
    frozen = tiny_stage("joint", freeze=["experts", "gate", "front_ends"])
    with pytest.raises(TrainingError, match="stage 'joint' has nothing to train"):
        fit(tiny_recipe(stages=(experts_stage(), frozen)), *data, tmp_path / "run", workers=0)
    few = tiny_recipe(stages=(experts_stage(batch_size=2),))
    with pytest.raises(TrainingError, match="batch_size 2 leaves 2 processes fewer than 2 windows each"):
        fit(few, *data, tmp_path / "run", workers=0, processes=Processes(0, 2))
    assert not (tmp_path / "run").exists()


def test_a_sparse_router_under_a_gate_that_sees_embeddings_says_that_all_are_run():
    detector = DetectorModel(tiny_spec(router="top_k"))
    assert "but all are run: the gate sees their embeddings" in joint_stage().routing(detector, masked=False)


def test_the_second_pass_of_a_sharpness_aware_step_runs_the_experts_that_the_first_chose():
    torch.manual_seed(0)
    detector = DetectorModel(tiny_spec(gate="features_conv", router={"name": "confidence", "noise": 1.0})).train()
    chosen = []
    detector.mixture.router.register_forward_hook(lambda _, __, weights: chosen.append(weights.detach() > 0))
    optimiser = torch.optim.AdamW(detector.parameters(), lr=1e-3)
    windows = torch.randn(8, detector.spec.window_samples)
    step = SharpnessStep(
        SharpnessAware(rho=20.0), optimiser, lambda: detector(windows).logits.square().sum(), model=detector
    )
    step.run()
    first, second = chosen
    assert torch.equal(first, second)
    assert not torch.equal(
        detector.mixture.router(detector.mixture.gate(detector.extract(windows)["log_mel"])) > 0, first
    )


def test_each_part_has_its_own_rate_and_a_part_of_an_expert_can_be_frozen():
    detector = DetectorModel(tiny_spec())
    stage = joint_stage(
        learning_rate=1.0,
        gate_learning_rate=2.0,
        learning_rates={"experts": 3.0, "mel": 4.0},
        freeze=("linear.body",),
    )
    groups = parameter_groups(detector, stage)
    assert {name: rate for name, (_, rate) in groups.items()} == {"mel": 4.0, "linear": 3.0, "gate": 2.0}
    expert = detector.mixture.experts["linear"]
    assert not any(one.requires_grad for one in expert.body.parameters())
    assert all(one.requires_grad for one in expert.head.parameters())
    with pytest.raises(TrainingError, match="linear has no part 'boddy'; did you mean 'body'"):
        parameter_groups(detector, joint_stage(freeze=("linear.boddy",)))


RECIPE = {
    "synthesis": ({"name": "lpc", "probability": 0.5},),
    "splice_probability": {1: 0.5},
    "spec_augment": {"probability": {0: 0.5, 2: 1.0}, "max_frequency_bins": 8},
    "stages": (
        tiny_stage("experts", epochs=1, draws=32, domains=DOMAINS),
        tiny_stage("experts", name="lot", epochs=1, draws=16, partition=True, freeze=["mel"]),
        tiny_stage(
            "joint",
            epochs=1,
            draws=32,
            mixture_loss_weight=0.0,
            expert_loss_weight=0.5,
            gate_entropy_weight=0.1,
            load_balance_weight=0.1,
            learning_rates={"gate": 1e-3, "experts": 1e-6},
        ),
    ),
}


@pytest.mark.parametrize("stop_after", [1, 4])
def test_a_run_of_every_kind_of_stage_resumes_bit_for_bit_and_repeats_no_stage(tmp_path, data, stop_after):
    recipe = tiny_recipe(**RECIPE)
    fit(recipe, *data, tmp_path / "whole", workers=0, say=lambda line: None)
    steps: list[str] = []

    @contextmanager
    def interrupt(what, total):
        def advance(count):
            if "/" in what and count:
                steps.append(what)
                if len(steps) == stop_after:
                    os.kill(os.getpid(), signal.SIGINT)

        yield advance

    with pytest.raises(TrainingError, match="go on with --resume"):
        fit(recipe, *data, tmp_path / "cut", workers=0, progress=interrupt, say=lambda line: None)
    seen: list[str] = []

    @contextmanager
    def watch(what, total):
        seen.append(what)
        yield lambda count: None

    fit(recipe, *data, tmp_path / "cut", workers=0, resume=True, progress=watch, say=lambda line: None)
    whole, cut = (read_checkpoint(tmp_path / name).model.state_dict() for name in ("whole", "cut"))
    assert [name for name in whole if not torch.equal(whole[name], cut[name])] == []
    lines = (tmp_path / "whole/metrics.jsonl").read_text()
    assert lines == (tmp_path / "cut/metrics.jsonl").read_text()
    assert [json.loads(line)["stage"] for line in lines.splitlines()] == ["experts", "lot", "joint"]
    assert ("experts 1/1" in seen) == (stop_after == 1)


def test_processes_that_share_a_batch_have_the_gradient_of_one_that_has_it_all():
    torch.manual_seed(0)
    logits, targets = torch.randn(6, 2), torch.arange(6) % 2 * 1.0
    owned = torch.tensor([[1, 0], [1, 0], [1, 0], [1, 0], [0, 1], [1, 0]], dtype=torch.bool)
    counts = owned.sum(dim=0)
    whole = masked_expert_losses(logits, targets, 0.1, owned, counts)
    halves = [
        masked_expert_losses(logits[part], targets[part], 0.1, owned[part], counts / 2)
        for part in (slice(4), slice(4, 6))
    ]
    assert torch.allclose((halves[0] + halves[1]) / 2, whole)
