"""Training by its numbers: rates, clipping, patience, best weights, losses, noise, and frames to the model."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import veravox
from tiny import batch_of, tiny_recipe, tiny_spec, tiny_stage
from veravox.batches.training import STAGE_EPOCHS
from veravox.models import DetectorModel
from veravox.tables import read_protocol
from veravox.training import Processes, Training, calibrate as calibration, fit
from veravox.training.division import Division
from veravox.training.epochs import EpochBatches
from veravox.training.learner import Learner
from veravox.training.loop import OPTIMISERS, rate_at, train_stage
from veravox.training.losses import expert_losses, gate_entropy, mixture_loss
from veravox.training.run import Position, TrainingRun
from veravox.training.selection import BestWeights, DevResult, DevSet
from veravox.training.track import no_progress

CPU = torch.device("cpu")


class Recorder(torch.optim.AdamW):
    """Notes learning rates and gradient norms of every group at every step."""

    made: ClassVar[list[Recorder]] = []

    def __init__(self, groups, **options):
        super().__init__(groups, **options)
        self.rates, self.norms = [], []
        self.made.append(self)

    def step(self, closure=None):
        self.rates.append([group["lr"] for group in self.param_groups])
        gradients = [[one.grad for one in group["params"] if one.grad is not None] for group in self.param_groups]
        self.norms.append([float(nn.utils.get_total_norm(group)) for group in gradients])
        return super().step(closure)


@pytest.fixture
def recorder(monkeypatch) -> type[Recorder]:
    monkeypatch.setattr(Recorder, "made", [])
    monkeypatch.setitem(OPTIMISERS, "adamw", Recorder)
    return Recorder


@pytest.fixture
def begin(samples, tmp_path):
    """Begins a run of these stages on eight trials."""
    torch.set_num_threads(1)
    protocol = read_protocol(samples / "protocol.csv")
    parts = [protocol.where(split=split) for split in ("train", "dev")]
    few = [part.with_frame(part.frame.group_by("label", maintain_order=True).head(4)) for part in parts]

    def run(*stages, **changes) -> TrainingRun:
        recipe = tiny_recipe(stages=stages, augmentation=(), **changes)
        folder = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        begun.append(TrainingRun(recipe, *few, folder, CPU, 0, False, Processes(), no_progress, lambda line: None))
        return begun[-1]

    begun: list[TrainingRun] = []
    yield run
    for one in begun:
        one.tracker.close()


def dev_gives(monkeypatch, eers: list[float], losses: list[float] | None = None) -> list[dict[str, torch.Tensor]]:
    """Makes dev give these figures, epoch by epoch, the last for ever; lists the weights at each time."""
    seen: list[dict[str, torch.Tensor]] = []

    def result(self, detector, own=None, loss=None):
        place = min(len(seen), len(eers) - 1)
        seen.append({name: value.clone() for name, value in detector.state_dict().items()})
        eer, dev_loss = eers[place], (losses or eers)[place]
        names = detector.expert_names
        return DevResult(eer, dev_loss, dict.fromkeys(names, eer), dict.fromkeys(names, dev_loss), [])

    monkeypatch.setattr(DevSet, "result", result)
    return seen


def test_every_step_has_the_rate_of_the_cosine_and_no_rate_falls_below_the_smallest(begin, recorder, monkeypatch):
    dev_gives(monkeypatch, [0.5, 0.4, 0.3])
    fields = {"epochs": 3, "draws": 8, "batch_size": 4, "learning_rate": 1e-2, "min_learning_rate": 1e-3}
    train_stage(begin(tiny_stage("joint", **fields, gate_learning_rate=5e-4)))
    (optimiser,) = recorder.made
    expected = [[1e-3 + 9e-3 * 0.5 * (1 + math.cos(math.pi * step / 6))] * 2 + [5e-4] for step in range(6)]
    np.testing.assert_allclose(optimiser.rates, expected, rtol=1e-12)
    end = rate_at(Training(epochs=3, min_learning_rate=1e-3), 1e-2, Position(epoch=2, batch=2), 2)
    assert end == pytest.approx(1e-3 + 9e-3 * 0.5 * (1 + math.cos(math.pi)))


def test_the_optimiser_is_the_one_named_with_the_recipes_weight_decay(begin, recorder, monkeypatch):
    assert OPTIMISERS["adam"] is torch.optim.Adam
    dev_gives(monkeypatch, [0.5])
    train_stage(begin(tiny_stage("experts", epochs=1, draws=4, batch_size=4, weight_decay=0.03)))
    (optimiser,) = recorder.made
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.03, 0.03]
    monkeypatch.undo()
    assert {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam} == OPTIMISERS


@pytest.mark.parametrize("sharpness", [None, {"rho": 0.05}])
def test_each_parts_gradient_is_clipped_also_under_sam(begin, recorder, monkeypatch, sharpness):
    dev_gives(monkeypatch, [0.5])
    fields = {"epochs": 1, "draws": 4, "batch_size": 4, "sharpness": sharpness}
    for clip in (1e-4, 0.0):
        train_stage(begin(tiny_stage("joint", **fields, gradient_clip=clip)))
    clipped, free = (optimiser.norms[0] for optimiser in recorder.made)
    assert clipped == pytest.approx([1e-4] * 3, rel=1e-2)
    assert min(free) > 1e-3


def test_a_stage_waits_for_a_better_dev_as_many_epochs_as_its_patience(begin, monkeypatch):
    dev_gives(monkeypatch, [0.5, 0.2, 0.3])
    run = begin(tiny_stage("joint", epochs=9, patience=3, draws=4, batch_size=4))
    train_stage(run)
    records = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == [1, 2, 3, 4, 5]
    assert [bool(record["improved"]) for record in records] == [True, True, False, False, False]


def test_a_stage_ends_with_the_weights_of_its_best_epoch(begin, monkeypatch):
    for trains in ("joint", "experts"):
        seen = dev_gives(monkeypatch, [0.4, 0.2, 0.3])
        run = begin(tiny_stage(trains, epochs=3, draws=4, batch_size=4))
        train_stage(run)
        weights = run.detector.state_dict()
        parts = [name for name in weights if trains == "joint" or ".experts." in name]
        assert all(torch.equal(weights[name], seen[1][name]) for name in parts)
        assert not all(torch.equal(weights[name], seen[2][name]) for name in parts)


def test_of_equal_rates_the_smaller_loss_is_better():
    best, module = BestWeights(), nn.Linear(1, 1)
    assert best.improve(0.1, 0.5, 0, module)
    assert best.improve(0.1, 0.4, 1, module)
    assert not best.improve(0.1, 0.45, 2, module)
    assert not best.improve(0.2, 0.1, 3, module)
    assert (best.epoch, best.loss) == (1, 0.4)


def test_a_stage_may_choose_by_the_least_loss_which_is_then_its_own_with_classes_alike():
    best, module = BestWeights(), nn.Linear(1, 1)
    assert best.improve(0.1, 0.5, 0, module, "least_loss")
    assert best.improve(0.4, 0.4, 1, module, "least_loss")
    assert not best.improve(0.0, 0.4, 2, module, "least_loss")
    logits, labels = np.array([3.0, -1.0, 0.5, -2.0]), np.array([True, False, False, False])
    detector = DetectorModel(tiny_spec())
    stage = tiny_stage("experts", choose="least_loss", loss="softmax", label_smoothing=0.2)
    classes = torch.stack([torch.zeros(4, dtype=torch.float64), torch.tensor(logits)], dim=1).softmax(dim=1)
    each = nn.functional.cross_entropy(classes, torch.tensor(labels).long(), label_smoothing=0.2, reduction="none")
    expected = (each[0] + each[1:].mean()) / 2
    assert stage.dev_loss(detector)(logits, labels) == pytest.approx(float(expected), rel=1e-6)
    assert tiny_stage("experts").dev_loss(detector) is None


def test_averaged_weights_are_the_mean_of_the_best_so_far_with_norms_gathered_anew(begin, monkeypatch):
    seen = dev_gives(monkeypatch, [0.4, 0.5, 0.4, 0.3])
    run = begin(tiny_stage("joint", epochs=4, draws=8, batch_size=4, average_best=True))
    train_stage(run)
    weights = run.detector.state_dict()
    for name, weight in weights.items():
        mean = torch.stack([seen[epoch][name].double() for epoch in (0, 2, 3)]).mean(dim=0)
        if name.endswith("num_batches_tracked"):
            assert weight == 2  # the batches of one epoch
        elif ".running_" not in name:
            torch.testing.assert_close(weight.double(), mean, rtol=1e-5, atol=1e-6, msg=name)
        elif name.endswith("running_var"):
            assert not torch.allclose(weight.double(), mean, rtol=1e-4)


def test_the_experts_own_losses_count_by_their_mean():
    logits, experts = torch.tensor([1.0, -2.0]), torch.tensor([[1.0, 4.0], [0.5, -3.0]])
    targets = torch.tensor([1.0, 0.0])
    shared = mixture_loss(logits, experts, targets, 0.0, 0.0)
    each = expert_losses(experts, targets, 0.0)
    both = mixture_loss(logits, experts, targets, 0.0, 0.5)
    assert float(both - shared) == pytest.approx(0.5 * float(each[0] + each[1]) / 2)


def test_a_positive_entropy_weight_adds_the_gates_entropy_to_what_is_minimised():
    torch.manual_seed(0)
    detector = DetectorModel(tiny_spec()).eval()
    windows = torch.randn(4, detector.spec.window_samples)
    batch = batch_of(windows, torch.tensor([1.0, 0, 1, 0]))
    losses = []
    for weight in (0.0, 2.0):
        stage = tiny_stage("joint", precision="float32", gate_entropy_weight=weight)
        with torch.no_grad():
            losses.append(stage.loss(stage.learner(detector, Division(None, ()), Processes(), CPU), batch))
            entropy = gate_entropy(detector(windows).gate_logits)
    assert float(losses[1] - losses[0]) == pytest.approx(2 * float(entropy), rel=1e-4)
    assert float(entropy) > 0.1


def test_stages_draw_and_disturb_from_numbers_of_their_own_and_curricula_go_on(begin):
    run = begin(tiny_stage("experts", epochs=3), tiny_stage("joint"))
    for index, stage in enumerate(run.recipe.stages):
        run.position = Position(stage=index)
        batches = EpochBatches(run, stage)
        batches.rest_of(1)
        draws = next(iter(batches._sampler))
        assert {draw.epoch for draw in draws} == {index * STAGE_EPOCHS + 1}
        assert batches._loader.dataset.first_epoch == 3 * index
        assert batches._loader.dataset._curriculum_epoch(draws[0]) == 3 * index + 1
    targets = [label == "bonafide" for label in run.train.frame["label"]]
    assert [bool(target) for target in batches._loader.dataset.targets] == targets


@pytest.mark.parametrize(("precision", "low"), [("bfloat16", True), ("float32", False)])
def test_the_forward_pass_runs_in_the_precision_asked_for(precision, low):
    learner = Learner(DetectorModel(tiny_spec()), nn.Identity(), Processes(), CPU, precision)
    with learner.precision():
        assert torch.is_autocast_enabled("cpu") == low
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if low else torch.float32)


class Meter:
    """Measures the value of a constant waveform, whatever is asked."""

    def __init__(self, sample_rate_hz):
        self.value = 0.0

    def update(self, waveform):
        self.value = float(waveform[0])

    def result(self):
        names = ("bandwidth_hz", "snr_db", "clipped_share", "dc_offset")
        return SimpleNamespace(**dict.fromkeys(names, self.value))


def test_limits_are_the_first_and_last_percentile_of_what_training_trials_measure(monkeypatch):
    monkeypatch.setattr(calibration, "QualityMeter", Meter)
    monkeypatch.setattr(calibration, "read_audio", lambda path, rate: np.full(16, int(path), np.float32))
    train = SimpleNamespace(audio_paths=lambda: [str(index) for index in range(101)])
    assert calibration.training_limits(train, (), seed=0) == {
        "min_bandwidth_hz": 1.0,
        "min_snr_db": 1.0,
        "max_clipped_share": 99.0,
        "max_dc_offset": 99.0,
    }


class Reached(Exception):
    """The model was called."""


@pytest.mark.parametrize("sharpness", [None, {"rho": 0.05}])
def test_seven_functions_of_ours_lead_from_fit_to_the_model(begin, monkeypatch, sharpness):
    source, frames = Path(veravox.__file__).parent, []

    def forward(self, windows):
        ours = [frame.function for frame in inspect.stack()[1:] if Path(frame.filename).is_relative_to(source)]
        frames.extend(ours[: ours.index("fit") + 1])
        raise Reached

    run = begin(tiny_stage("joint", sharpness=sharpness))
    monkeypatch.setattr(DetectorModel, "forward", forward)
    with pytest.raises(Reached):
        fit(run.recipe, run.train, run.dev, run.out / "again", workers=0, say=lambda line: None)
    assert len(frames) + 1 <= (5 if sharpness is None else 7), frames
